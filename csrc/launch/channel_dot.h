// Products summed over channels on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/channel_dot.h"

namespace maskconv {

// Queues the kernel on `cuda_stream` (a cudaStream_t) of the current device; with nothing to sum it does
// nothing. Throws std::invalid_argument if no kernel takes the problem, std::runtime_error if the launch
// fails.
void launch_channel_dot(const ChannelDotArguments& arguments, void* cuda_stream);

}  // namespace maskconv
