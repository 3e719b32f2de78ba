// Counts the windows of a mask of any kind. A mask of several channels is first summed over those that each
// window channel counts; then a thread adds up the taps of a window. The order of every sum is fixed.
//
// Sum is int32 for hard masks, else the type of the mask.
#pragma once

#include "device/channel_mask.cuh"
#include "device/window.cuh"
#include "plan/window.h"

namespace maskconv {

// Lanes side by side share the mask channels of a group.
template <class Sum, class Value>
__global__ void __launch_bounds__(kWindowThreads) sum_channels(const __grid_constant__ WindowParams params) {
  const ChannelMask& mask = params.mask;
  const int64_t thread = int64_t{blockIdx.x} * kWindowThreads + threadIdx.x;
  const int64_t index = thread / params.threads_per_sum;
  const int32_t lane = threadIdx.x % params.threads_per_sum;
  const bool exists = index < params.channel_sum_count();
  Sum sum{0};
  if (exists) {
    const int64_t position = index / params.channels;
    const int32_t first = static_cast<int32_t>(index % params.channels) * params.covered;
    const int32_t end = first + params.covered;
    const Value* values = static_cast<const Value*>(mask.data) + position * mask.channels;
    const int32_t begins = mask_channel(mask, first), last = mask_channel(mask, end - 1);
    for (int32_t m = begins + lane; m <= last; m += params.threads_per_sum) {
      // The part of a mask channel may begin before the group, and end after it.
      const int32_t from = m == begins ? first : mask.part_begin(m);
      const int32_t to = m == last ? end : mask.part_end(m);
      sum += static_cast<Sum>(to - from) * counted<Sum>(ptx::load_global(values + m));
    }
  }
  for (int32_t distance = params.threads_per_sum / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(~0u, sum, distance);
  if (exists && lane == 0) ptx::store_global(static_cast<Sum*>(params.channel_sums) + index, sum);
}

template <class Sum>
__device__ __forceinline__ bool is_valid(const WindowParams& params, Sum sum, bool center) {
  switch (params.problem.mask_update) {
    case MaskUpdate::kCenter:
      return center;
    case MaskUpdate::kAll:
      return sum == static_cast<Sum>(params.size);
    case MaskUpdate::kThreshold:
      return static_cast<double>(sum) >= params.required;
    default:
      return sum > 0;
  }
}

// Value: of the mask, if it is shared, else Sum: the values are then channel sums.
template <class Sum, class Value>
__global__ void __launch_bounds__(kWindowThreads) sum_windows(const __grid_constant__ WindowParams params) {
  const ConvProblem& problem = params.problem;
  const int64_t index = int64_t{blockIdx.x} * kWindowThreads + threadIdx.x;
  if (index >= params.windows()) return;
  const int64_t row = index / params.channels;
  const int32_t channel = static_cast<int32_t>(index - row * params.channels);
  const auto* const values =
      static_cast<const Value*>(params.mask.shared() ? params.mask.data : params.channel_sums);
  const Sum outside = problem.pad_is_valid ? static_cast<Sum>(params.covered) : Sum{0};
  const RowIndex q(problem.output, row);
  Sum sum{0};
  bool center = false;
  int32_t at[kAxes];
  for (int32_t d = 0; d < problem.kernel[0]; ++d) {
    at[0] = q.at[0] * problem.stride[0] - problem.padding[0] + d * problem.dilation[0];
    for (int32_t h = 0; h < problem.kernel[1]; ++h) {
      at[1] = q.at[1] * problem.stride[1] - problem.padding[1] + h * problem.dilation[1];
      const bool inside_plane = inside(problem.input, 0, at[0]) && inside(problem.input, 1, at[1]);
      const bool center_line = d == problem.center(0) && h == problem.center(1);
#pragma unroll 4
      for (int32_t w = 0; w < problem.kernel[2]; ++w) {
        at[2] = q.at[2] * problem.stride[2] - problem.padding[2] + w * problem.dilation[2];
        Sum value = outside;
        if (inside_plane && inside(problem.input, 2, at[2])) {
          const int64_t p = position(problem.input, q.image, at);
          value = values == nullptr ? Sum{1}
                                    : counted<Sum>(ptx::load_global(values + p * params.channels + channel));
        }
        sum += value;
        if (center_line && w == problem.center(2)) center = value != 0;
      }
    }
  }
  ptx::store_global(static_cast<Sum*>(params.sum) + index, sum);
  ptx::store_global(params.valid + index, static_cast<uint8_t>(is_valid(params, sum, center)));
  if (params.fraction != nullptr) {
    using Fraction = std::conditional_t<std::is_same_v<Sum, int32_t>, float, Sum>;
    ptx::store_global(static_cast<Fraction*>(params.fraction) + index,
                      static_cast<Fraction>(sum) / static_cast<Fraction>(params.size));
  }
}

}  // namespace maskconv
