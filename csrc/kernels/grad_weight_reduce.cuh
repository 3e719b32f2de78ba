// Adds up the partial sums of the splits, in an order that depends on nothing but their number.
#pragma once

#include "device/element.cuh"
#include "plan/grad_weight_params.h"

namespace maskconv {

template <class Element>
__global__ void __launch_bounds__(grad_weight::kReduceElements* grad_weight::kReduceLanes)
    grad_weight_reduce(const __grid_constant__ GradWeightParams params) {
  using namespace grad_weight;
  using Acc = Accumulator<Element>;
  Acc* const sums = reinterpret_cast<Acc*>(ptx::dynamic_smem());  // [kReduceLanes][kReduceElements]

  const int32_t column = threadIdx.x % kReduceElements;
  const int32_t lane = threadIdx.x / kReduceElements;
  const int64_t element = int64_t{blockIdx.x} * kReduceElements + column;
  const bool exists = element < params.elements();
  Acc sum{0};
  if (exists) {
    const Acc* const partial = static_cast<const Acc*>(params.workspace) + element;
#pragma unroll 4
    for (int32_t split = lane; split < params.splits; split += kReduceLanes)
      sum += ptx::load_global(partial + split * params.elements());
  }
  ptx::store_shared(sums + threadIdx.x, sum);
  __syncthreads();
  if (lane != 0 || !exists) return;
  for (int32_t other = 1; other < kReduceLanes; ++other)
    sum += ptx::load_shared(sums + other * kReduceElements + column);
  ptx::store_global(static_cast<Element*>(params.result) + element, from_accumulator<Element>(sum));
}

}  // namespace maskconv
