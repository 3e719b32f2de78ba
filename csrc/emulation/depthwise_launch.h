// Launching the emulated depthwise kernels.
#pragma once

#include <limits>
#include <vector>

#include "emulation/grad_weight_reduce_launch.h"
#include "emulation/launch.h"
#include "kernels/depthwise.cuh"
#include "kernels/depthwise_grad_weight.cuh"

namespace maskconv::emulation {

template <class Pass, class Element, int32_t kVector>
Counters launch_depthwise_instance(const depthwise::Params<typename Pass::Params>& params,
                                   const LaunchOptions& options, GlobalMemory& memory) {
  const Dim3 grid{static_cast<unsigned>(params.shape.blocks()), 1, 1};
  const size_t shared = depthwise::layout(kDType<Element>, kVector).total;
  return launch(grid, {depthwise::kThreads, 1, 1}, shared, options, memory,
                &depthwise_conv<Pass, Element, kVector>, params);
}

template <class Pass, class Element>
Counters launch_depthwise(const depthwise::Params<typename Pass::Params>& params,
                          const LaunchOptions& options, GlobalMemory& memory) {
  if (params.shape.blocks() == 0) return {};
  if (params.shape.vector == 1) return launch_depthwise_instance<Pass, Element, 1>(params, options, memory);
  constexpr int32_t kWidest = depthwise::widest_vector(kDType<Element>);
  return launch_depthwise_instance<Pass, Element, kWidest>(params, options, memory);
}

// With a workspace of its own, for channels in vectors of kVector; `register_` adds all arrays but that to a
// GlobalMemory. Returns the counters of the sums and of the reduction.
template <class Element, int32_t kVector, class Register>
std::pair<Counters, Counters> run_depthwise_grad_weight(GradWeightArguments arguments,
                                                        const DepthwiseWeightPlan& plan,
                                                        const LaunchOptions& options, Register register_) {
  using Acc = Accumulator<Element>;
  std::vector<Acc> workspace(plan.workspace_bytes / sizeof(Acc), std::numeric_limits<Acc>::quiet_NaN());
  if (!workspace.empty()) arguments.workspace = workspace.data();
  const auto params = make_depthwise_weight_params(arguments, plan.splits);
  std::pair<Counters, Counters> counters;
  GlobalMemory memory;
  register_(memory);
  if (!workspace.empty()) memory.add(workspace.data(), plan.workspace_bytes, true, "workspace");
  const size_t shared = depthwise::layout(kDType<Element>, kVector).total;
  counters.first = launch({static_cast<unsigned>(params.blocks()), 1, 1}, {depthwise::kThreads, 1, 1}, shared,
                          options, memory, &depthwise_grad_weight<Element, kVector>, params);
  if (params.splits == 1) return counters;
  GlobalMemory reduced;
  register_(reduced);
  reduced.add(workspace.data(), plan.workspace_bytes, false, "workspace");
  counters.second = launch_grad_weight_reduce<Element>(params, options, reduced);
  return counters;
}

}  // namespace maskconv::emulation
