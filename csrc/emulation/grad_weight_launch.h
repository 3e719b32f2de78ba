// Launching the emulated grad_weight kernels.
#pragma once

#include <limits>
#include <stdexcept>
#include <vector>

#include "emulation/grad_weight_reduce_launch.h"
#include "emulation/launch.h"
#include "kernels/grad_weight_mma.cuh"
#include "kernels/grad_weight_simt.cuh"
#include "plan/grad_weight_planner.h"

namespace maskconv::emulation {

struct GradWeightCounters {
  Counters sums;
  Counters reduction;  // none with one split
};

template <int32_t kIndex, class Element>
Counters launch_grad_weight_sums(const GradWeightParams& params, const LaunchOptions& options,
                                 GlobalMemory& memory) {
  constexpr GemmConfig kConfig = grad_weight::kConfigs[kIndex];
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(kConfig.threads()), 1, 1};
  const size_t shared = grad_weight::layout(kConfig, kDType<Element>).total;
  using Seen = ElementOf<kConfig.kernel, Element>;
  if constexpr (kConfig.on_tensor_cores()) {
    return launch(grid, block, shared, options, memory, &grad_weight_mma<kIndex, Seen>, params);
  } else {
    return launch(grid, block, shared, options, memory, &grad_weight_simt<kIndex, Seen>, params);
  }
}

// Both steps of a grad_weight, with a workspace of its own. `launch_sums`, of (params, memory), launches the
// first and returns its counters; `register_` adds all arrays but the workspace to a GlobalMemory.
template <class Element, class LaunchSums, class Register>
GradWeightCounters run_grad_weight(GradWeightArguments arguments, const GradWeightPlan& plan,
                                   const LaunchOptions& options, LaunchSums launch_sums, Register register_) {
  using Acc = Accumulator<Element>;
  std::vector<Acc> workspace(plan.workspace_bytes / sizeof(Acc), std::numeric_limits<Acc>::quiet_NaN());
  if (!workspace.empty()) arguments.workspace = workspace.data();
  const GradWeightParams params = make_grad_weight_params(arguments, plan);
  GradWeightCounters counters;
  if (params.blocks() == 0) return counters;
  GlobalMemory memory;
  register_(memory);
  if (!workspace.empty()) memory.add(workspace.data(), plan.workspace_bytes, true, "workspace");
  counters.sums = launch_sums(params, memory);
  if (params.splits == 1) return counters;

  GlobalMemory reduced;
  register_(reduced);
  reduced.add(workspace.data(), plan.workspace_bytes, false, "workspace");
  counters.reduction = launch_grad_weight_reduce<Element>(params, options, reduced);
  return counters;
}

// As launch_grad_weight; the one of kIndices that has `plan.config`.
template <class Element, int32_t... kIndices, class Register>
GradWeightCounters run_grad_weight(grad_weight::Indices<kIndices...>, const GradWeightArguments& arguments,
                                   const GradWeightPlan& plan, const LaunchOptions& options,
                                   Register register_) {
  const auto launch_sums = [&](const GradWeightParams& params, GlobalMemory& memory) {
    Counters counters;
    const bool found =
        ((plan.config == grad_weight::kConfigs[kIndices] &&
          (counters = launch_grad_weight_sums<kIndices, Element>(params, options, memory), true)) ||
         ...);
    if (!found) throw std::invalid_argument(name(plan.config) + " is not compiled for this element type");
    return counters;
  };
  return run_grad_weight<Element>(arguments, plan, options, launch_sums, register_);
}

}  // namespace maskconv::emulation
