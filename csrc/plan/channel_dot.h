// The product of two arrays as plain data, summed over channels: at each position one sum for each channel of
// a mask, over what that covers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "plan/channel_mask.h"
#include "plan/conv_problem.h"
#include "plan/row_blocks.h"

namespace maskconv {

constexpr int32_t kDotThreads = 256;

// Pointers are to device memory (host memory in the emulation).
struct ChannelDotArguments {
  ConvProblem problem;            // its batch, channels, input and mask_batch
  DType dtype = DType::kFloat32;  // of a and b
  ChannelMask mask;               // hard
  const void* a = nullptr;        // (N, D, H, W, C); read where the mask is not 0
  const void* b = nullptr;        // likewise
  void* dots = nullptr;           // accumulators (N, D, H, W, Cm); 0 where the mask is
};

struct ChannelDotParams : ChannelDotArguments {
  int32_t vector = 1;           // elements a thread loads at once
  int32_t threads_per_dot = 1;  // a power of two, at most a warp

  constexpr int64_t dot_count() const { return problem.batch * problem.input_positions() * mask.channels; }
  constexpr int64_t mask_values() const {
    return problem.mask_batch * problem.input_positions() * mask.channels;
  }
  constexpr int32_t dots_per_block() const { return kDotThreads / threads_per_dot; }
  constexpr int64_t blocks() const { return (dot_count() + dots_per_block() - 1) / dots_per_block(); }
};

inline ChannelDotParams make_channel_dot_params(const ChannelDotArguments& arguments) {
  ChannelDotParams params{arguments};
  ChannelMask& mask = params.mask;
  if (mask.shared()) mask.part_channels = params.problem.channels;
  int32_t unit = 0, most = 0;  // every part begins at a multiple of `unit`
  for (int32_t part = 0; part < mask.channels; ++part) {
    unit = std::gcd(unit, mask.part_end(part));
    most = std::max(most, mask.part_end(part) - mask.part_begin(part));
  }
  const auto begins = reinterpret_cast<uintptr_t>(params.a) | reinterpret_cast<uintptr_t>(params.b);
  params.vector = row_vector(params.dtype, unit, begins);
  while (params.threads_per_dot < std::min(most / params.vector, 32)) params.threads_per_dot *= 2;
  if (params.blocks() > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("there are more sums than one launch can carry");
  return params;
}

}  // namespace maskconv
