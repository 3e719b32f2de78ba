// The product of two arrays, read once, and summed over the channels that each channel of a mask covers.
// Lanes side by side share a sum, as they do for the mask channels of windows; the order of every sum is
// fixed.
#pragma once

#include "device/channel_mask.cuh"
#include "device/element.cuh"
#include "device/row_blocks.cuh"
#include "plan/channel_dot.h"

namespace maskconv {

template <class Element, int32_t kVector>
__global__ void __launch_bounds__(kDotThreads) channel_dot(const __grid_constant__ ChannelDotParams params) {
  using Acc = Accumulator<Element>;
  using Vector = RowVector<Element, kVector>;
  const ChannelMask& mask = params.mask;
  const int32_t lane = threadIdx.x % params.threads_per_dot;
  const int64_t index = int64_t{blockIdx.x} * params.dots_per_block() + threadIdx.x / params.threads_per_dot;
  const bool exists = index < params.dot_count();
  Acc sum{0};
  if (exists) {
    const int64_t mask_index = index < params.mask_values() ? index : index % params.mask_values();
    if (ptx::load_global(static_cast<const uint8_t*>(mask.data) + mask_index) != 0) {
      const int64_t row = index / mask.channels;
      const int32_t part = static_cast<int32_t>(index - row * mask.channels);
      const Element* a = static_cast<const Element*>(params.a) + row * params.problem.channels;
      const Element* b = static_cast<const Element*>(params.b) + row * params.problem.channels;
      const int32_t end = mask.part_end(part), step = params.threads_per_dot * kVector;
#pragma unroll 4
      for (int32_t c = mask.part_begin(part) + lane * kVector; c < end; c += step) {
        const Vector left = ptx::load_global(reinterpret_cast<const Vector*>(a + c));
        const Vector right = ptx::load_global(reinterpret_cast<const Vector*>(b + c));
#pragma unroll
        for (int32_t i = 0; i < kVector; ++i)
          sum += to_accumulator(left.value[i]) * to_accumulator(right.value[i]);
      }
    }
  }
  for (int32_t distance = params.threads_per_dot / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(~0u, sum, distance);
  if (exists && lane == 0) ptx::store_global(static_cast<Acc*>(params.dots) + index, sum);
}

}  // namespace maskconv
