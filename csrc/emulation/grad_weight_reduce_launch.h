// Launching the emulated reduction of partial sums, which the kernels of grad_weight share.
#pragma once

#include "emulation/launch.h"
#include "kernels/grad_weight_reduce.cuh"

namespace maskconv::emulation {

template <class Element>
Counters launch_grad_weight_reduce(const GradWeightParams& params, const LaunchOptions& options,
                                   GlobalMemory& memory) {
  constexpr int64_t kElements = grad_weight::kReduceElements;
  const Dim3 grid{static_cast<unsigned>((params.elements() + kElements - 1) / kElements), 1, 1};
  const Dim3 block{static_cast<unsigned>(kElements * grad_weight::kReduceLanes), 1, 1};
  return launch(grid, block, grad_weight::reduce_shared_bytes(kDType<Element>), options, memory,
                &grad_weight_reduce<Element>, params);
}

}  // namespace maskconv::emulation
