// The implicit GEMM of a pass for any type, channel count and group size: the same prologue and epilogue
// around a tiled product on the ordinary cores.
#pragma once

#include "device/packed_product.cuh"

namespace maskconv {

template <class Pass, int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(kGemmConfigs[kConfigIndex].threads(), kGemmConfigs[kConfigIndex].blocks)
    gemm_simt(const __grid_constant__ typename Pass::Params params) {
  constexpr GemmConfig kConfig = kGemmConfigs[kConfigIndex];
  packed_product<Pass, kConfig, Element, SimtStage<kConfig, Element>, ThreadTile<kConfig, Element>>(params);
}

}  // namespace maskconv
