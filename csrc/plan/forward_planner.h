// Which forward kernel runs, and whether one can: pure functions of the problem, the type and the device.
#pragma once

#include <string>

#include "plan/forward_params.h"
#include "plan/gemm_planner.h"

namespace maskconv {

GemmShape forward_shape(const ConvProblem& problem);

// Empty if the CUDA forward takes the problem, else why not, as the end of a sentence: "…, because <reason>".
std::string why_not_forward(const ConvProblem& problem, DType dtype, const DeviceProperties& device);
inline bool can_run_forward(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  return why_not_forward(problem, dtype, device).empty();
}

// True if both operands may be loaded 16 bytes at a time.
bool operands_aligned(const ForwardArguments& arguments);

// All that does not depend on how the product is tiled.
ForwardParams forward_params(const ForwardArguments& arguments);
ForwardParams make_forward_params(const ForwardArguments& arguments, const GemmConfig& config);

}  // namespace maskconv
