// Counting the windows of a mask of any kind: window sums, valid(q), and the soft output mask.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "plan/channel_mask.h"
#include "plan/conv_problem.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation). Sums are int32 of hard masks, else of the
// mask's type.
struct WindowArguments {
  ConvProblem problem;
  ChannelMask mask;
  bool wide = false;             // soft values are float64, else float32
  void* channel_sums = nullptr;  // (mask_batch, D, H, W, Gw) of sums, scratch; null for a shared mask
  void* sum = nullptr;           // (window_batch, oD, oH, oW, Gw)
  uint8_t* valid = nullptr;      // as sum; 1 = valid
  void* fraction = nullptr;      // s / W, as sum, of hard masks in float32; null without kFraction
};

struct WindowParams : WindowArguments {
  int32_t channels = 1;         // Gw
  int32_t covered = 1;          // input channels that a window channel counts: 1 of a shared mask
  int32_t size = 1;             // W
  double required = 0.0;        // of MaskUpdate::kThreshold: valid(q) is s >= required
  int32_t threads_per_sum = 1;  // over channels: a power of two

  constexpr int64_t windows() const { return problem.window_batch() * problem.output_positions() * channels; }
  constexpr int64_t channel_sum_count() const {
    return mask.shared() ? 0 : problem.mask_batch * problem.input_positions() * channels;
  }
};

constexpr int32_t kWindowThreads = 256;

constexpr int64_t window_blocks(int64_t threads) { return (threads + kWindowThreads - 1) / kWindowThreads; }

inline WindowParams make_window_params(const WindowArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  WindowParams params{arguments};
  if (!params.mask.shared()) {
    params.channels = problem.groups;
    params.covered = problem.channels_per_group();
  }
  const int64_t size = int64_t{problem.taps()} * params.covered;
  if (size > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("a window counts " + std::to_string(size) +
                                " mask values; the CUDA kernels count them in 31 bits");
  params.size = static_cast<int32_t>(size);
  params.required = problem.threshold * static_cast<double>(size);
  // Lanes side by side read neighbouring mask channels: those of one group, and of the next.
  const int32_t mask_channels = std::max(1, params.mask.channels / params.channels);
  while (params.threads_per_sum < std::min(mask_channels, 32)) params.threads_per_sum *= 2;
  const int64_t most = std::max(params.windows(), params.channel_sum_count() * params.threads_per_sum);
  if (window_blocks(most) > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("the mask has more windows than one launch can count");
  return params;
}

}  // namespace maskconv
