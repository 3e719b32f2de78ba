// The bias gradient on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/grad_bias.h"

namespace maskconv {

// How many accumulators GradBiasArguments::partial_sums, not yet set, must have room for.
inline int64_t grad_bias_partial_sums(const GradBiasArguments& arguments) {
  return make_grad_bias_params(arguments).row_blocks * arguments.problem.filters;
}

// Queues both kernels on `cuda_stream` (a cudaStream_t) of the current device. Throws std::runtime_error if a
// launch fails.
void launch_grad_bias(const GradBiasArguments& arguments, void* cuda_stream);

}  // namespace maskconv
