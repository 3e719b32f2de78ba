// Which grad_input kernel runs, and whether one can: pure functions of the problem, the type and the device.
#pragma once

#include <string>

#include "plan/gemm_planner.h"
#include "plan/grad_input_params.h"

namespace maskconv {

GemmShape grad_input_shape(const ConvProblem& problem, bool has_row_order = false);

// Empty if the CUDA grad_input takes the problem, else why not, as the end of a sentence.
std::string why_not_grad_input(const ConvProblem& problem, DType dtype, const DeviceProperties& device);

// True if both operands may be loaded 16 bytes at a time.
bool operands_aligned(const GradInputArguments& arguments);

// All that does not depend on how the product is tiled.
GradInputParams grad_input_params(const GradInputArguments& arguments);
GradInputParams make_grad_input_params(const GradInputArguments& arguments, const GemmConfig& config);

}  // namespace maskconv
