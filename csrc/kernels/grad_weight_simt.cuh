// The gradient of the accumulator for the weight, for any type, channel count and group size.
#pragma once

#include "device/grad_weight_simt.cuh"

namespace maskconv {

template <int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(grad_weight::kConfigs[kConfigIndex].threads(),
                                  grad_weight::kConfigs[kConfigIndex].blocks)
    grad_weight_simt(const __grid_constant__ GradWeightParams params) {
  using namespace grad_weight;
  constexpr GemmConfig kConfig = kConfigs[kConfigIndex];
  static_assert(kConfig.stages == 2, "one stage is read while the other is written");

  const Tile tile = tile_of_block<kConfig>(params);
  const Smem<kConfig, Element> smem;
  LiveRows<kConfig, Element> rows(params, tile, smem);
  ScalarRowLoader<kConfig, Element> loader(params, tile, smem);
  ThreadSums<kConfig, Element> sums;

  do {
    const int32_t ready = rows.refill();
    const int32_t steps = (ready + kConfig.block_k - 1) / kConfig.block_k;
    if (steps > 0) {
      loader.fetch(0, ready);
      loader.put(smem.stage(0));
    }
    __syncthreads();
    for (int32_t step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      if (more) loader.fetch((step + 1) * kConfig.block_k, ready);  // on its way while the arithmetic runs
      sums.multiply(smem.stage(step % 2));
      if (more) loader.put(smem.stage((step + 1) % 2));
      __syncthreads();
    }
  } while (!rows.ended());
  sums.store(Destination<Element>(params, tile));
}

}  // namespace maskconv
