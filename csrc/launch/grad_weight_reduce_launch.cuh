// Launching the reduction of partial sums, which the kernels of grad_weight share.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/grad_weight_reduce.cuh"

namespace maskconv {

template <class Element>
void launch_grad_weight_reduce(const GradWeightParams& params, cudaStream_t stream) {
  constexpr int64_t kElements = grad_weight::kReduceElements;
  const int64_t blocks = (params.elements() + kElements - 1) / kElements;
  grad_weight_reduce<Element><<<static_cast<unsigned>(blocks), kElements * grad_weight::kReduceLanes,
                                grad_weight::reduce_shared_bytes(kDType<Element>), stream>>>(params);
}

}  // namespace maskconv
