// The few-channels kernel on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/few_channels.h"
#include "plan/forward_params.h"
#include "plan/grad_input_params.h"

namespace maskconv {

// Queue the pass of a problem that why_not_few_channels has nothing against, and that has rows and columns,
// on `cuda_stream` (a cudaStream_t) of the current device. Throw std::runtime_error if the launch fails.
void launch_few_channels(const ForwardArguments& arguments, void* cuda_stream);
void launch_few_channels(const GradInputArguments& arguments, void* cuda_stream);
// With the plan of few_channels::weight_config_for.
void launch_few_channels(const GradWeightArguments& arguments, const GradWeightPlan& plan, void* cuda_stream);

}  // namespace maskconv
