// Scale, bias and fill after a convolution's sums on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/finish.h"

namespace maskconv {

// Queues the kernel on `cuda_stream` (a cudaStream_t) of the current device; with no rows it does nothing.
// Throws std::runtime_error if the launch fails.
void launch_finish(const FinishArguments& arguments, void* cuda_stream);

}  // namespace maskconv
