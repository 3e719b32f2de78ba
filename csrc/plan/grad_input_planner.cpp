#include "plan/grad_input_planner.h"

namespace maskconv {

GemmShape grad_input_shape(const ConvProblem& problem) {
  GemmShape shape;
  shape.rows = problem.batch;
  for (int axis = 0; axis < kAxes; ++axis) {
    shape.rows *= class_extent(problem, axis, 0);  // the first class is the largest
    shape.row_classes *= class_count(problem, axis);
  }
  shape.columns = problem.channels_per_group();
  shape.depth = problem.filters_per_group();
  shape.loads_columns = true;
  return shape;
}

std::string why_not_grad_input(const ConvProblem& problem, DType dtype, const MaskTraits& mask,
                               const DeviceProperties& device) {
  const std::string why_not = why_not_mask(mask);
  if (!why_not.empty()) return why_not;
  return why_not_config(simt_config(dtype), problem, grad_input_shape(problem), dtype, true, device);
}

bool operands_aligned(const GradInputArguments& arguments) {
  return is_aligned(arguments.grad) && is_aligned(arguments.weight);
}

GradInputParams grad_input_params(const GradInputArguments& arguments) {
  GradInputParams params;
  params.problem = arguments.problem;
  params.source = arguments.grad;
  params.source_valid = arguments.valid;
  params.weight = arguments.weight;
  params.result = arguments.grad_input;
  params.mask = arguments.mask;
  for (int axis = 0; axis < kAxes; ++axis) params.class_count[axis] = class_count(params.problem, axis);
  params.classes = static_cast<uint32_t>(grad_input_shape(arguments.problem).row_classes);
  return params;
}

GradInputParams make_grad_input_params(const GradInputArguments& arguments, const GemmConfig& config) {
  GradInputParams params = grad_input_params(arguments);
  set_shape(params, grad_input_shape(arguments.problem), config, arguments.dtype);
  return params;
}

}  // namespace maskconv
