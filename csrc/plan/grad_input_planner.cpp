#include "plan/grad_input_planner.h"

namespace maskconv {
namespace {

int32_t class_stride(const ConvProblem& problem, int axis, bool has_row_order) {
  return has_row_order ? 1 : problem.stride[axis];
}

}  // namespace

GemmShape grad_input_shape(const ConvProblem& problem, bool has_row_order) {
  GemmShape shape;
  shape.rows = problem.batch;
  for (int axis = 0; axis < kAxes; ++axis) {
    const int32_t size = problem.input[axis], stride = class_stride(problem, axis, has_row_order);
    shape.rows *= class_extent(size, stride, 0);  // the first class is the largest
    shape.row_classes *= class_count(size, stride);
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
  return is_aligned(arguments.gradient.grad) && is_aligned(arguments.weight);
}

GradInputParams grad_input_params(const GradInputArguments& arguments) {
  const bool has_row_order = arguments.row_order != nullptr;
  GradInputParams params;
  params.problem = arguments.problem;
  params.source = arguments.gradient.grad;
  params.source_valid = arguments.gradient.valid;
  params.source_windows = arguments.gradient.window_channels;
  params.scale = arguments.gradient.scale;
  params.weight = arguments.weight;
  params.result = arguments.grad_input;
  params.mask = arguments.mask;
  params.row_order = arguments.row_order;
  for (int axis = 0; axis < kAxes; ++axis) {
    params.class_stride[axis] = class_stride(params.problem, axis, has_row_order);
    params.class_count[axis] = class_count(params.problem.input[axis], params.class_stride[axis]);
  }
  params.classes = static_cast<uint32_t>(grad_input_shape(arguments.problem, has_row_order).row_classes);
  return params;
}

GradInputParams make_grad_input_params(const GradInputArguments& arguments, const GemmConfig& config) {
  GradInputParams params = grad_input_params(arguments);
  const GemmShape shape = grad_input_shape(arguments.problem, arguments.row_order != nullptr);
  set_shape(params, shape, config, arguments.dtype);
  return params;
}

}  // namespace maskconv
