// The CUDA forward, one launch: no torch, no CUDA headers.
#pragma once

#include "launch/device.h"
#include "plan/candidates.h"
#include "plan/forward_planner.h"

namespace maskconv {

// Queues the convolution on `cuda_stream` (a cudaStream_t) of the current device; with no rows it does
// nothing. Throws std::invalid_argument if no kernel takes the problem, std::runtime_error if the launch
// fails.
void launch_forward(const ForwardArguments& arguments, const Candidate& chosen, void* cuda_stream);

}  // namespace maskconv
