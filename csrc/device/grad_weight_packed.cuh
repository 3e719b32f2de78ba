// A tile of grad_weight from operands that are loaded an element at a time.
#pragma once

#include "device/grad_weight_simt.cuh"

namespace maskconv::grad_weight {

// Stage: how operands lie in shared memory. Sums: a thread's or a warp's part of the tile.
template <GemmConfig kConfig, class Element, class Stage, class Sums>
__device__ __forceinline__ void packed_sums(const GradWeightParams& params) {
  static_assert(kConfig.stages == 2, "one stage is read while the other is written");
  static_assert(taps_per_tile(kConfig) == kConfig.block_n, "every column may be another tap");
  const Tile tile = tile_of_block<kConfig>(params);
  const Smem<kConfig, Element> smem;
  LiveRows<kConfig, Element> rows(params, tile, smem);
  ScalarRowLoader<Stage, kConfig, Element> loader(params, tile, smem);
  Sums sums;

  do {
    const int32_t ready = rows.refill();
    const int32_t steps = (ready + kConfig.block_k - 1) / kConfig.block_k;
    if (steps > 0) {
      loader.fetch(0, ready);
      loader.put(smem.stage(0), 0);
    }
    __syncthreads();
    for (int32_t step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      if (more) loader.fetch((step + 1) * kConfig.block_k, ready);  // on its way while the arithmetic runs
      sums.multiply(smem.stage(step % 2));
      if (more) loader.put(smem.stage((step + 1) % 2), (step + 1) * kConfig.block_k);
      __syncthreads();
    }
  } while (!rows.ended());
  sums.store(Destination<Element>(params, tile));
}

}  // namespace maskconv::grad_weight
