// The gradient for the weight of depthwise layers: how rows, taps and channels are dealt out.
#pragma once

#include "plan/depthwise.h"
#include "plan/grad_weight_planner.h"

namespace maskconv {
namespace depthwise {

struct WeightParams : GradWeightParams {
  ForwardParams forward;  // rows, source and masks are those of the forward
  Shape shape;
  int64_t runs_of_split = 0;
  int32_t strips_of_block = 1;
  int32_t strip_blocks = 1;
  int32_t copies_of_strips =
      1;  // threads that share the runs of the same strip and channels: in other lines ...
  int32_t copies_of_line = 1;  // ... and in the same

  constexpr int32_t shares() const { return copies_of_strips * copies_of_line; }
  constexpr int64_t blocks_of_split() const { return int64_t{shape.column_blocks} * strip_blocks; }
  constexpr int64_t blocks() const { return splits * blocks_of_split(); }
};

}  // namespace depthwise

struct DepthwiseWeightPlan {
  int32_t splits = 1;
  int64_t workspace_bytes = 0;  // what GradWeightArguments::workspace has to have
};

// `splits` 0: as many as fill the device.
DepthwiseWeightPlan plan_depthwise_grad_weight(const GradWeightArguments& arguments, int32_t splits,
                                               const DeviceProperties& device);

depthwise::WeightParams make_depthwise_weight_params(const GradWeightArguments& arguments, int32_t splits);

}  // namespace maskconv
