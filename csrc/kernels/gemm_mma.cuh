// The implicit GEMM of a pass (device/prologue.cuh says what that is) for fp16, bf16 and tf32, whose channels
// per group fill chunks of 16 bytes: on tensor cores, with the masks as load predicate. The reduction runs
// over the taps that are live somewhere in the tile.
#pragma once

#include "device/epilogue.cuh"
#include "device/gather.cuh"
#include "device/mma.cuh"
#include "device/prologue.cuh"
#include "device/smem.cuh"
#include "device/tap_scales.cuh"

namespace maskconv {

template <class Pass, int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(kGemmConfigs[kConfigIndex].threads(),
                                  Pass::blocks(kGemmConfigs[kConfigIndex]))
    gemm_mma(const __grid_constant__ typename Pass::Params params) {
  constexpr GemmConfig kConfig = kGemmConfigs[kConfigIndex];
  constexpr int32_t kStages = kConfig.stages;
  static_assert(kStages >= 3, "a stage is being read and one may still be; the rest are in flight");

  const GemmTile tile = gemm_tile<kConfig>(params);
  const GemmSmem<kConfig, Element> smem(params.problem.taps());
  const int32_t live_taps = prologue<Pass, kConfig, Element>(params, tile, smem);

  using Weights = typename Pass::template Weights<kConfig, Element>;
  const int32_t steps_of_tap = (params.depth + kConfig.block_k - 1) / kConfig.block_k;
  const int32_t steps = live_taps * steps_of_tap;
  OperandLoader<Weights, kConfig, Element> loader(params, tile, smem);
  WarpTile<Weights, kConfig, Element> sums;
  using Scales = std::conditional_t<Pass::kScalesSource, TapScales<Pass, kConfig, Element>, NoTapScales>;
  Scales scales(params, tile, smem, steps_of_tap);

  // Every step commits one group, an empty one if there is nothing to load: so group i is always step i.
  for (int32_t step = 0; step < kStages - 1; ++step) {
    scales.put();
    if (step < steps) {
      loader.load(smem.stage(step));
      scales.fetch();
    }
    ptx::cp_async_commit();
  }
  for (int32_t step = 0; step < steps; ++step) {
    ptx::cp_async_wait<kStages - 2>();  // of the kStages - 1 groups in flight, the oldest is this step's
    __syncthreads();                    // ... for all threads; and all are done with the stage loaded next
    scales.put();
    const int32_t ahead = step + kStages - 1;
    if (ahead < steps) {
      loader.load(smem.stage(ahead % kStages));
      scales.fetch();
    }
    ptx::cp_async_commit();
    scales.apply(sums);
    sums.multiply(smem.stage(step % kStages));
  }

  scales.put_units();
  __syncthreads();  // every load has been waited for and read: the stages become the accumulators
  scales.apply_units(sums);
  sums.put(smem);
  __syncthreads();
  epilogue<Pass, kConfig, Element>(params, tile, smem);
}

}  // namespace maskconv
