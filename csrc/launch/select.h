// Selecting the input under a mask of any kind on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/select.h"

namespace maskconv {

// Queues the kernel on `cuda_stream` (a cudaStream_t) of the current device; with nothing to select it does
// nothing. Throws std::invalid_argument if no kernel takes the problem, std::runtime_error if the launch
// fails.
void launch_select(const SelectArguments& arguments, void* cuda_stream);

}  // namespace maskconv
