// Which grad_weight kernel runs and into how many parts its rows are split: pure functions of the problem,
// the type and the device.
#pragma once

#include <string>

#include "plan/cost.h"
#include "plan/grad_weight_params.h"

namespace maskconv {

// Partial sums never take more than this, nor more than the mean of input and grad. So of a weight with more
// than half of that in accumulators the rows are not split.
constexpr int64_t kMaxGradWeightWorkspace = int64_t{64} << 20;

// Bytes partial sums may take: beside the weight, nothing as large as input or grad is allocated.
int64_t grad_weight_workspace_room(const ConvProblem& problem, DType dtype);

struct GradWeightPlan {
  GemmConfig config;
  int32_t splits = 1;
  int64_t workspace_bytes = 0;  // what GradWeightArguments::workspace has to have
  Cost cost;
};

// Throws std::invalid_argument, listing the names there are.
GemmConfig grad_weight_config_named(const std::string& name);

// Empty if `config` can run the problem, else why not, as the end of a sentence. `aligned`: grad, input and
// result start on 16-byte boundaries.
std::string why_not_grad_weight(const GemmConfig& config, const ConvProblem& problem, DType dtype,
                                bool aligned, const DeviceProperties& device);

// The plan with a given tile; `splits` 0: as many as are expected to be fastest.
GradWeightPlan plan_grad_weight(const GemmConfig& config, int32_t splits, const ConvProblem& problem,
                                DType dtype, const DeviceProperties& device);

GradWeightPlan plan_grad_weight(const ConvProblem& problem, DType dtype, bool aligned,
                                const DeviceProperties& device);

bool operands_aligned(const GradWeightArguments& arguments);

GradWeightParams make_grad_weight_params(const GradWeightArguments& arguments, const GradWeightPlan& plan);

}  // namespace maskconv
