// Both kernels of the backward's first pass, launched on the emulated machine as launch/scale_grad.cu does.
#pragma once

#include "emulation/launch.h"
#include "kernels/scale_grad.cuh"

namespace maskconv::emulation {

// Returns the counters of the first.
template <class Element>
Counters launch_scale_grad(const ScaleGradParams& params, const LaunchOptions& options,
                           GlobalMemory& memory) {
  constexpr int32_t kWidest = kVectorBytes / sizeof(Element);
  const Dim3 block{kRowThreads, 1, 1};
  Counters counters;
  if (params.blocks() > 0) {
    const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
    const bool wide = params.vector > 1;
    const size_t shared =
        wide ? ScaleGradTypes<Element, kWidest>::kSharedBytes : ScaleGradTypes<Element, 1>::kSharedBytes;
    counters = launch(grid, block, shared, options, memory,
                      wide ? &scale_grad<Element, kWidest> : &scale_grad<Element, 1>, params);
  }
  if (params.grad_bias != nullptr && params.bias_blocks() > 0) {
    const Dim3 grid{static_cast<unsigned>(params.bias_blocks()), 1, 1};
    launch(grid, block, kRowThreads * sizeof(Accumulator<Element>), options, memory,
           &sum_partial_grad_bias<Element>, params);
  }
  return counters;
}

}  // namespace maskconv::emulation
