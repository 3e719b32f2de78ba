// Sums of weight * mask, one a filter and window, that were computed before: what the epilogues of the
// forward make of them. ForwardArguments says what they are.
#pragma once

#include "device/element.cuh"
#include "device/window.cuh"
#include "plan/gemm_params.h"

namespace maskconv {

// Where those of an output begin, from `channel` on.
template <class Acc>
__device__ __forceinline__ const Acc* weight_sums_at(const void* weight_sum, const ConvProblem& problem,
                                                     int64_t output, int64_t channel) {
  const int64_t window = problem.window_batch() > 1 ? output : remainder(output, problem.output_positions());
  return static_cast<const Acc*>(weight_sum) + window * problem.filters + channel;
}

// Those of a vector of filters, up to 16 bytes at a time, on such boundaries.
template <class Acc, int32_t kVector>
__device__ __forceinline__ void load_weight_sums(const Acc* from, Acc (&to)[kVector]) {
  constexpr int32_t kWidest = kVectorBytes / sizeof(Acc);
  constexpr int32_t kChunk = kVector < kWidest ? kVector : kWidest;
  struct alignas(kChunk * sizeof(Acc)) Chunk {
    Acc value[kChunk];
  };
#pragma unroll
  for (int32_t i = 0; i < kVector; i += kChunk) {
    const Chunk chunk = ptx::load_global(reinterpret_cast<const Chunk*>(from + i));
#pragma unroll
    for (int32_t j = 0; j < kChunk; ++j) to[i + j] = chunk.value[j];
  }
}

// What becomes of the sum of an output whose window is valid, if the output of this filter is.
template <class Acc>
__device__ __forceinline__ Acc finish_filter(const ConvProblem& problem, Acc scale, Acc sum, Acc bias,
                                             Acc weight_sum) {
  if (weight_sum == 0) return problem.fill_with_bias ? bias : static_cast<Acc>(problem.fill);
  return (problem.normalization == Normalization::kWeight ? sum / weight_sum : scale * sum) + bias;
}

}  // namespace maskconv
