// The depthwise kernels on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/depthwise.h"
#include "plan/depthwise_grad_weight.h"

namespace maskconv {

// Queue the pass of a problem that why_not_depthwise has nothing against, and that has rows and channels, on
// `cuda_stream` (a cudaStream_t) of the current device. Throw std::runtime_error if the launch fails.
void launch_depthwise(const ForwardArguments& arguments, void* cuda_stream);
void launch_depthwise(const GradInputArguments& arguments, void* cuda_stream);
void launch_depthwise(const GradWeightArguments& arguments, const DepthwiseWeightPlan& plan,
                      void* cuda_stream);

}  // namespace maskconv
