// The implicit GEMM of a pass for any type, channel count and group size: the same prologue and epilogue
// around a tiled product on the ordinary cores. Taps and depth are one reduction axis, so few channels waste
// nothing.
#pragma once

#include "device/epilogue.cuh"
#include "device/prologue.cuh"
#include "device/simt.cuh"
#include "device/smem.cuh"

namespace maskconv {

template <class Pass, int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(kGemmConfigs[kConfigIndex].threads(), kGemmConfigs[kConfigIndex].blocks)
    gemm_simt(const __grid_constant__ typename Pass::Params params) {
  constexpr GemmConfig kConfig = kGemmConfigs[kConfigIndex];
  static_assert(kConfig.stages == 2, "one stage is read while the other is written");

  const GemmTile tile = gemm_tile<kConfig>(params);
  const GemmSmem<kConfig, Element> smem(params.problem.taps());
  const int32_t live_taps = prologue<Pass, kConfig, Element>(params, tile, smem);

  const int64_t reduction = int64_t{live_taps} * params.depth;
  const int64_t steps = (reduction + kConfig.block_k - 1) / kConfig.block_k;
  ScalarLoader<kConfig, Element> loader(params, tile, smem, live_taps);
  ThreadTile<kConfig, Element> sums;

  if (steps > 0) {
    loader.fetch();
    loader.put(smem.stage(0));
  }
  __syncthreads();
  for (int64_t step = 0; step < steps; ++step) {
    const bool more = step + 1 < steps;
    if (more) loader.fetch();  // on its way while the arithmetic runs
    sums.multiply(smem.stage(step % 2));
    if (more) loader.put(smem.stage((step + 1) % 2));
    __syncthreads();
  }

  sums.put(smem);
  __syncthreads();
  epilogue<Pass, kConfig, Element>(params, tile, smem);
}

}  // namespace maskconv
