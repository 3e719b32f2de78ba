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

std::string why_not_grad_input(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  return why_not_config(simt_config(dtype), problem, grad_input_shape(problem), dtype, true, device);
}

bool operands_aligned(const GradInputArguments& arguments) {
  return is_aligned(arguments.grad) && is_aligned(arguments.weight);
}

GradInputParams make_grad_input_params(const GradInputArguments& arguments, const GemmConfig& config) {
  const GemmShape shape = grad_input_shape(arguments.problem);
  GradInputParams params;
  params.problem = arguments.problem;
  params.source = arguments.grad;
  params.source_valid = arguments.valid;
  params.weight = arguments.weight;
  params.result = arguments.grad_input;
  set_shape(params, shape, config, arguments.dtype);
  params.mask = arguments.mask;
  for (int axis = 0; axis < kAxes; ++axis) params.class_count[axis] = class_count(params.problem, axis);
  params.classes = static_cast<uint32_t>(shape.row_classes);
  return params;
}

}  // namespace maskconv
