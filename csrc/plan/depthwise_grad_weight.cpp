#include "plan/depthwise_grad_weight.h"

#include <algorithm>

namespace maskconv {
namespace depthwise {
namespace {

// Two blocks are on a multiprocessor at once. Twice as many even out what holes leave uneven.
constexpr int64_t kBlocksWanted = 2 * kBlocksOfMultiprocessor;
constexpr int64_t kMinRunsOfSplit = 4 * depthwise::kMaxRuns;  // or writing partial sums takes longer

WeightParams make_params(const GradWeightArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  WeightParams params;
  static_cast<GradWeightArguments&>(params) = arguments;
  ForwardArguments forward;
  forward.problem = problem;
  forward.dtype = arguments.dtype;
  forward.input = arguments.input;
  forward.mask = arguments.mask;
  params.forward = forward_params(forward);
  set_pitches(params.forward);
  params.shape = depthwise::forward_shape(problem, arguments.dtype, operands_aligned(arguments));
  const int32_t strips = params.shape.strips;
  params.strip_blocks = ceil_div(strips, kStageStrips);
  params.strips_of_block = ceil_div(strips, params.strip_blocks);
  params.copies_of_strips = kStageStrips / params.strips_of_block;
  params.copies_of_line = kMaxVectors / params.shape.vectors_of_block;
  return params;
}

}  // namespace
}  // namespace depthwise

DepthwiseWeightPlan plan_depthwise_grad_weight(const GradWeightArguments& arguments, int32_t splits,
                                               const DeviceProperties& device) {
  const auto params = depthwise::make_params(arguments);
  const int64_t part = params.elements() * accumulator_bytes(arguments.dtype);
  if (splits == 0) {
    const int64_t filling = depthwise::kBlocksWanted * device.multiprocessors / params.blocks_of_split();
    const int64_t room = grad_weight_workspace_room(arguments.problem, arguments.dtype) / part;
    splits = static_cast<int32_t>(
        std::max<int64_t>(1, std::min({filling, room, params.shape.runs / depthwise::kMinRunsOfSplit})));
  }
  return {splits, splits > 1 ? splits * part : 0};
}

depthwise::WeightParams make_depthwise_weight_params(const GradWeightArguments& arguments, int32_t splits) {
  depthwise::WeightParams params = depthwise::make_params(arguments);
  params.splits = splits;
  params.runs_of_split = depthwise::ceil_div<int64_t>(params.shape.runs, splits);
  return params;
}

}  // namespace maskconv
