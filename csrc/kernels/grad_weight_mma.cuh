// The gradient for the weight, for fp16, bf16 and tf32 with filters and channels per group
// that fill chunks of 16 bytes: implicit GEMM on tensor cores, whose reduction runs over the output rows that
// are live for the taps of the tile.
#pragma once

#include "device/grad_weight_mma.cuh"

namespace maskconv {

template <int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(grad_weight::kConfigs[kConfigIndex].threads(),
                                  grad_weight::kConfigs[kConfigIndex].blocks)
    grad_weight_mma(const __grid_constant__ GradWeightParams params) {
  using namespace grad_weight;
  constexpr GemmConfig kConfig = kConfigs[kConfigIndex];
  constexpr int32_t kStages = kConfig.stages;
  static_assert(kStages >= 3, "a stage is being read and one may still be; the rest are in flight");

  const Tile tile = tile_of_block<kConfig>(params);
  const Smem<kConfig, Element> smem;
  LiveRows<kConfig, Element> rows(params, tile, smem);
  RowLoader<kConfig, Element> loader(params, tile, smem);
  WarpSums<kConfig, Element> sums;
  const RowScales<kConfig, Element> row_scales = smem.row_scales();
  const auto* const scales = params.gradient.scale != nullptr ? &row_scales : nullptr;

  do {
    const int32_t ready = rows.refill();
    const int32_t steps = (ready + kConfig.block_k - 1) / kConfig.block_k;
    // Every step commits one group, an empty one if there is nothing to load: so group i is always step i.
    for (int32_t step = 0; step < kStages - 1; ++step) {
      if (step < steps) loader.load(smem.stage(step), step * kConfig.block_k, ready);
      ptx::cp_async_commit();
    }
    for (int32_t step = 0; step < steps; ++step) {
      ptx::cp_async_wait<kStages - 2>();  // of the kStages - 1 groups in flight, the oldest is this step's
      __syncthreads();                    // ... for all threads; and all are done with the stage loaded next
      const int32_t ahead = step + kStages - 1;
      if (ahead < steps) loader.load(smem.stage(ahead % kStages), ahead * kConfig.block_k, ready);
      ptx::cp_async_commit();
      sums.multiply(smem.stage(step % kStages), step * kConfig.block_k, scales);
    }
  } while (!rows.ended());
  sums.store(Destination<Element>(params, tile));
}

}  // namespace maskconv
