// Launching the emulated depthwise kernels.
#pragma once

#include "emulation/launch.h"
#include "kernels/depthwise.cuh"

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
Counters launch_depthwise(const depthwise::Params<typename Pass::Params>& params, const LaunchOptions& options,
                          GlobalMemory& memory) {
  if (params.shape.blocks() == 0) return {};
  if (params.shape.vector == 1) return launch_depthwise_instance<Pass, Element, 1>(params, options, memory);
  constexpr int32_t kWidest = depthwise::widest_vector(kDType<Element>);
  return launch_depthwise_instance<Pass, Element, kWidest>(params, options, memory);
}

}  // namespace maskconv::emulation
