// The CUDA grad_input, one launch: no torch, no CUDA headers.
#pragma once

#include "launch/device.h"
#include "plan/candidates.h"
#include "plan/grad_input_planner.h"

namespace maskconv {

// As launch_forward: queues the gradient for the input.
void launch_grad_input(const GradInputArguments& arguments, const Candidate& chosen, void* cuda_stream);

}  // namespace maskconv
