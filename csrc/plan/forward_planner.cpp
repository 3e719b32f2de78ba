#include "plan/forward_planner.h"

#include <cmath>

namespace maskconv {
namespace {

int32_t minimum_sum(const ConvProblem& problem) {
  switch (problem.mask_update) {
    case MaskUpdate::kAll:
      return problem.taps();
    case MaskUpdate::kThreshold:
      return static_cast<int32_t>(std::ceil(problem.threshold * problem.taps()));
    default:
      return 1;
  }
}

}  // namespace

GemmShape forward_shape(const ConvProblem& problem) {
  GemmShape shape;
  shape.rows = problem.rows();
  shape.columns = problem.filters_per_group();
  shape.depth = problem.channels_per_group();
  return shape;
}

std::string why_not_forward(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  return why_not_config(simt_config(dtype), problem, forward_shape(problem), dtype, true, device);
}

bool operands_aligned(const ForwardArguments& arguments) {
  return is_aligned(arguments.input) && is_aligned(arguments.weight);
}

ForwardParams forward_params(const ForwardArguments& arguments) {
  ForwardParams params;
  params.problem = arguments.problem;
  params.source = arguments.input;
  params.source_valid = arguments.mask;
  params.weight = arguments.weight;
  params.result = arguments.output;
  params.row_order = arguments.row_order;
  params.bias = arguments.bias;
  params.out_mask = arguments.out_mask;
  params.window_sum = arguments.window_sum;
  params.minimum_sum = minimum_sum(arguments.problem);
  params.given = arguments.given;
  params.weight_sum = arguments.weight_sum;
  return params;
}

ForwardParams make_forward_params(const ForwardArguments& arguments, const GemmConfig& config) {
  ForwardParams params = forward_params(arguments);
  set_shape(params, forward_shape(arguments.problem), config, arguments.dtype);
  params.vector_store = params.vector_store && is_aligned(arguments.weight_sum);
  return params;
}

}  // namespace maskconv
