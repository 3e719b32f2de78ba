// Launching the emulated few-channels kernel of a pass.
#pragma once

#include "emulation/grad_weight_launch.h"
#include "emulation/launch.h"
#include "kernels/few_channels.cuh"
#include "kernels/few_channels_grad_weight.cuh"

namespace maskconv::emulation {

template <class Pass, int32_t kIndex, class Element>
Counters launch_few_channels_instance(const typename Pass::Params& params, const LaunchOptions& options,
                                      GlobalMemory& memory) {
  constexpr GemmConfig kConfig = few_channels::kConfigs[kIndex];
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(kConfig.threads()), 1, 1};
  const size_t shared = gemm_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  return launch(grid, block, shared, options, memory, &few_channels_conv<Pass, kIndex, Element>, params);
}

// As on the device, an empty grid is no launch.
template <class Pass, class Element, int32_t... kIndices>
Counters launch_few_channels(few_channels::Indices<kIndices...>, const GemmConfig& config,
                             const typename Pass::Params& params, const LaunchOptions& options,
                             GlobalMemory& memory) {
  Counters counters;
  if (params.blocks() == 0) return counters;
  ((config == few_channels::kConfigs[kIndices] &&
    (counters = launch_few_channels_instance<Pass, kIndices, Element>(params, options, memory), true)) ||
   ...);
  return counters;
}

template <class Element, int32_t... kIndices, class Register>
GradWeightCounters run_few_channels_grad_weight(few_channels::Indices<kIndices...>,
                                                const GradWeightArguments& arguments,
                                                const GradWeightPlan& plan, const LaunchOptions& options,
                                                Register register_) {
  const auto launch_sums = [&](const GradWeightParams& params, GlobalMemory& memory) {
    const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
    const Dim3 block{static_cast<unsigned>(plan.config.threads()), 1, 1};
    const size_t shared = grad_weight::layout(plan.config, arguments.dtype).total;
    Counters counters;
    ((plan.config == few_channels::kConfigs[kIndices] &&
      (counters =
           launch(grid, block, shared, options, memory, &few_channels_grad_weight<kIndices, Element>, params),
       true)) ||
     ...);
    return counters;
  };
  return run_grad_weight<Element>(arguments, plan, options, launch_sums, register_);
}

}  // namespace maskconv::emulation
