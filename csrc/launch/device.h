// What launches ask of CUDA besides the kernel: no torch, no CUDA headers.
#pragma once

#include <string>

#include "plan/gemm_planner.h"

namespace maskconv {

// Of the current device.
DeviceProperties current_device_properties();

// Throws std::runtime_error, saying what failed and why, unless the code (a cudaError_t) is cudaSuccess.
void check_cuda(int error, const std::string& what);

}  // namespace maskconv
