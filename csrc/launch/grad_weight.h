// The CUDA grad_weight: no torch, no CUDA headers.
#pragma once

#include "launch/device.h"
#include "plan/grad_weight_planner.h"

namespace maskconv {

// Queues the gradient for the weight on `cuda_stream` (a cudaStream_t) of the current device: one kernel, and
// with several splits a second one. Throws std::invalid_argument if the plan does not fit the problem,
// std::runtime_error if a launch fails.
void launch_grad_weight(const GradWeightArguments& arguments, const GradWeightPlan& plan, void* cuda_stream);

}  // namespace maskconv
