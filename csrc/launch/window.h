// Counting the windows of a mask of any kind on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/window.h"

namespace maskconv {

// How many sums WindowArguments::channel_sums, not yet set, must have room for.
inline int64_t window_channel_sums(const WindowArguments& arguments) {
  return make_window_params(arguments).channel_sum_count();
}

// Queues the kernels on `cuda_stream` (a cudaStream_t) of the current device. Throws std::invalid_argument if
// no kernel takes the problem, std::runtime_error if a launch fails.
void launch_window(const WindowArguments& arguments, void* cuda_stream);

}  // namespace maskconv
