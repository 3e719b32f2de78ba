// One masked convolution as plain data: no torch, no CUDA. The bindings fill it in; the CPU engine, the
// planner, the CUDA kernels (constexpr members: --expt-relaxed-constexpr) and their emulation read it. Names
// follow maskconv_ext/reference.py.
#pragma once

#include <compare>
#include <cstdint>

namespace maskconv {

// 1-D and 2-D problems carry leading axes of size 1 (kernel 1, stride 1, no padding), so every engine
// handles exactly one rank.
constexpr int kAxes = 3;

// scale(q); W is the window size, s the window sum.
enum class Normalization : int32_t {
  kRatio /* W / s */,
  kMean /* 1 / s */,
  kSqrt /* sqrt(W / s) */,
  kWeight /* 1 / sum of w * m, of each filter: such sums are computed before */,
  kNone
};

// valid(q), and the output mask.
enum class MaskUpdate : int32_t {
  kAny /* s > 0 */,
  kAll /* s == W */,
  kCenter /* m at the window's centre */,
  kThreshold /* s >= threshold * W */,
  kFraction /* s > 0; the output mask is s / W */
};

struct ConvProblem {
  int64_t batch = 0;     // N
  int32_t channels = 0;  // C, of all groups together
  int32_t filters = 0;   // K, of all groups together
  int32_t groups = 1;
  int32_t input[kAxes] = {1, 1, 1};
  int32_t output[kAxes] = {1, 1, 1};
  int32_t kernel[kAxes] = {1, 1, 1};
  int32_t stride[kAxes] = {1, 1, 1};
  int32_t padding[kAxes] = {0, 0, 0};  // before the first element; what follows the last is implied by output
  int32_t dilation[kAxes] = {1, 1, 1};

  int64_t mask_batch = 0;  // 0: no mask, every pixel valid; 1: one mask for the whole batch; else N
  bool pad_is_valid = false;

  bool allow_tf32 = false;  // tensor cores may round the factors of float32 products to TF32

  Normalization normalization = Normalization::kRatio;
  MaskUpdate mask_update = MaskUpdate::kAny;
  double threshold = 0.0;       // MaskUpdate::kThreshold only
  double fill = 0.0;            // written where valid(q) is false ...
  bool fill_with_bias = false;  // ... unless this is set: then the bias of the filter

  constexpr int32_t channels_per_group() const { return channels / groups; }
  constexpr int32_t filters_per_group() const { return filters / groups; }
  constexpr int32_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  constexpr int64_t input_positions() const { return int64_t{input[0]} * input[1] * input[2]; }
  constexpr int64_t output_positions() const { return int64_t{output[0]} * output[1] * output[2]; }
  constexpr int64_t rows() const { return batch * output_positions(); }

  // The window sum and the output mask have as many images as the mask: one without a mask.
  constexpr int64_t window_batch() const { return mask_batch > 1 ? mask_batch : 1; }
  // Tap at the window's centre, per axis; of an even window the one before the middle.
  constexpr int32_t center(int axis) const { return (kernel[axis] - 1) / 2; }

  auto operator<=>(const ConvProblem&) const = default;
};

}  // namespace maskconv
