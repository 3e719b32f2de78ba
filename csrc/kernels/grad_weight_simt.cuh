// The gradient for the weight, for any type, channel count and group size.
#pragma once

#include "device/grad_weight_packed.cuh"

namespace maskconv {

template <int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(grad_weight::kConfigs[kConfigIndex].threads(),
                                  grad_weight::kConfigs[kConfigIndex].blocks)
    grad_weight_simt(const __grid_constant__ GradWeightParams params) {
  using namespace grad_weight;
  constexpr GemmConfig kConfig = kConfigs[kConfigIndex];
  packed_sums<kConfig, Element, SimtRowStage<kConfig, Element>, ThreadSums<kConfig, Element>>(params);
}

}  // namespace maskconv
