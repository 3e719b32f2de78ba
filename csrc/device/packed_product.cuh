// A tile of the implicit GEMM from operands that are loaded an element at a time. Taps and depth are one
// reduction axis, so few channels waste nothing.
#pragma once

#include "device/epilogue.cuh"
#include "device/prologue.cuh"
#include "device/simt.cuh"
#include "device/smem.cuh"

namespace maskconv {

// Stage: how operands lie in shared memory. Sums: a thread's or a warp's part of the product of two.
template <class Pass, GemmConfig kConfig, class Element, class Stage, class Sums>
__device__ __forceinline__ void packed_product(const typename Pass::Params& params) {
  static_assert(kConfig.stages == 2, "one stage is read while the other is written");
  const GemmTile tile = gemm_tile<kConfig>(params);
  const GemmSmem<kConfig, Element> smem(params.problem.taps());
  const int32_t live_taps = prologue<Pass, kConfig, Element>(params, tile, smem);

  const int64_t reduction = int64_t{live_taps} * params.depth;
  const int64_t steps = (reduction + kConfig.block_k - 1) / kConfig.block_k;
  ScalarLoader<Pass, Stage, kConfig, Element> loader(params, tile, smem, live_taps);
  Sums sums;

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
