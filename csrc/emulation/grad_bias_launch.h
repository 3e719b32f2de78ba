// Both kernels of the bias gradient, launched on the emulated machine as launch/grad_bias.cu does.
#pragma once

#include "emulation/launch.h"
#include "kernels/grad_bias.cuh"

namespace maskconv::emulation {

// Returns the counters of the first.
template <class Element>
Counters launch_grad_bias(const GradBiasParams& params, const LaunchOptions& options, GlobalMemory& memory) {
  constexpr int32_t kWidest = kVectorBytes / sizeof(Element);
  const Dim3 block{kRowThreads, 1, 1};
  Counters counters;
  if (params.blocks() > 0) {
    const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
    const bool wide = params.vector > 1;
    const size_t shared =
        wide ? GradBiasTypes<Element, kWidest>::kSharedBytes : GradBiasTypes<Element, 1>::kSharedBytes;
    counters = launch(grid, block, shared, options, memory,
                      wide ? &grad_bias<Element, kWidest> : &grad_bias<Element, 1>, params);
  }
  if (params.bias_blocks() > 0) {
    const Dim3 grid{static_cast<unsigned>(params.bias_blocks()), 1, 1};
    launch(grid, block, kRowThreads * sizeof(Accumulator<Element>), options, memory,
           &sum_partial_grad_bias<Element>, params);
  }
  return counters;
}

}  // namespace maskconv::emulation
