// The backward's first pass on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/scale_grad.h"

namespace maskconv {

// How many accumulators ScaleGradArguments::partial_sums, not yet set, must have room for.
inline int64_t scale_grad_partial_sums(const ScaleGradArguments& arguments) {
  if (arguments.grad_bias == nullptr) return 0;
  return make_scale_grad_params(arguments).row_blocks * arguments.problem.filters;
}

// Queues both kernels on `cuda_stream` (a cudaStream_t) of the current device. Throws std::runtime_error if a
// launch fails.
void launch_scale_grad(const ScaleGradArguments& arguments, void* cuda_stream);

}  // namespace maskconv
