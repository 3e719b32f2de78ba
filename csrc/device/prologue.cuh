// The prologue: all there is to know about the masks, once per row, and then once per tile. Stride, dilation,
// padding and rank end here; the main loop knows row_base + live_delta and a bit.
//
// What rows and taps mean is the pass's (kernels/forward.cuh, kernels/grad_input.cuh), a class with
//   Params              derived from GemmParams
//   Weights             device/weights.cuh: how tensor cores get at the weights
//   Rows                made of (params, tile, block_m); at(row) is a Row
//   Row                 image and at[], the source position under tap 0; `gathers`: has it taps at all
//   Walk                of (params, row, axis): the source positions of successive taps along one axis
//   source_sizes(problem), axis_delta(problem, axis, tap)   tap's source position less that of tap 0
//   Window              what is counted while a row's taps are visited
//   finish_row          leaves a RowResult for the epilogue
//   Finish, kHasBias    what that makes of the sums of a row
#pragma once

#include "device/smem.cuh"
#include "device/window.cuh"

namespace maskconv {

// Source positions between tap 0 and tap (d, h, w).
template <class Pass>
__device__ __forceinline__ int64_t tap_delta(const ConvProblem& problem, int32_t d, int32_t h, int32_t w) {
  const Axes& sizes = Pass::source_sizes(problem);
  return (int64_t{Pass::axis_delta(problem, 0, d)} * sizes[1] + Pass::axis_delta(problem, 1, h)) * sizes[2] +
         Pass::axis_delta(problem, 2, w);
}

// Visits the taps of one row and writes its bitset: a bit is set where the tap leads to a valid source
// position.
template <class Pass, class Smem>
__device__ __forceinline__ void scan_window(const typename Pass::Params& params,
                                            const typename Pass::Row& row, typename Pass::Window& window,
                                            const Smem& smem, int32_t index) {
  using Walk = typename Pass::Walk;
  const ConvProblem& problem = params.problem;
  const Axes& sizes = Pass::source_sizes(problem);
  const int64_t image = problem.mask_batch > 1 ? row.image : 0;
  uint32_t bits = 0;
  int32_t tap = 0;
  Walk along_d(params, row, 0);
  for (int32_t d = 0; d < problem.kernel[0]; ++d, along_d.next()) {
    const bool inside_d = along_d.lands() && inside(sizes, 0, along_d.at);
    Walk along_h(params, row, 1);
    for (int32_t h = 0; h < problem.kernel[1]; ++h, along_h.next()) {
      const bool inside_h = inside_d && along_h.lands() && inside(sizes, 1, along_h.at);
      const uint8_t* line = params.source_valid + position(sizes, image, {along_d.at, along_h.at, 0});
      Walk along_w(params, row, 2);
#pragma unroll 4
      for (int32_t w = 0; w < problem.kernel[2]; ++w, along_w.next()) {
        const bool in_source = inside_h && along_w.lands() && inside(sizes, 2, along_w.at);
        const bool live =
            in_source && (params.source_valid == nullptr || ptx::load_global(line + along_w.at) != 0);
        bits |= uint32_t{live} << (tap % kTapsPerWord);
        window.count(tap, live, in_source);
        if (++tap % kTapsPerWord == 0) {
          ptx::store_shared(smem.tap_word(index, tap - 1), bits);
          bits = 0;
        }
      }
    }
  }
  if (tap % kTapsPerWord != 0) ptx::store_shared(smem.tap_word(index, tap - 1), bits);
}

template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ void scan_rows(const typename Pass::Params& params, const GemmTile& tile,
                                          const GemmSmem<kConfig, Element>& smem) {
  const ConvProblem& problem = params.problem;
  const typename Pass::Rows rows(params, tile, kConfig.block_m);
  for (int32_t index = threadIdx.x; index < kConfig.block_m; index += kConfig.threads()) {
    const typename Pass::Row row = rows.at(index);
    typename Pass::Window window(problem);
    int64_t base = 0;
    if (row.gathers) {
      scan_window<Pass>(params, row, window, smem, index);
      base = position(Pass::source_sizes(problem), row.image, row.at) * params.source_pitch +
             int64_t{tile.group} * params.depth;
    } else {
      for (int32_t tap = 0; tap < problem.taps(); tap += kTapsPerWord)
        ptx::store_shared(smem.tap_word(index, tap), 0u);
    }
    ptx::store_shared(smem.row_base + index, base);
    Pass::template finish_row<Accumulator<Element>>(params, tile, row, window, smem, index);
  }
}

// One warp: the taps that some row of the tile needs, in ascending order.
template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ void list_live_taps(const GemmParams& params,
                                               const GemmSmem<kConfig, Element>& smem) {
  const ConvProblem& problem = params.problem;
  const int32_t lane = threadIdx.x % 32;
  int32_t count = 0;
  for (int32_t first_tap = 0; first_tap < problem.taps(); first_tap += kTapsPerWord) {
    uint32_t mine = 0;
    for (int32_t row = lane; row < kConfig.block_m; row += 32)
      mine |= ptx::load_shared(smem.tap_word(row, first_tap));
    const uint32_t live = __reduce_or_sync(~0u, mine);
    if (live >> lane & 1) {
      const int32_t slot = count + __popc(live & ((1u << lane) - 1));
      const int32_t tap = first_tap + lane;
      const int32_t plane = tap / problem.kernel[2];
      const int64_t delta = tap_delta<Pass>(problem, plane / problem.kernel[1], plane % problem.kernel[1],
                                            tap % problem.kernel[2]);
      ptx::store_shared(smem.live_tap + slot, tap);
      ptx::store_shared(smem.live_delta + slot, delta * params.source_pitch);
    }
    count += __popc(live);
  }
  if (lane == 0) ptx::store_shared(smem.live_count, count);
}

// Fills all of `smem` but the stages, and returns how many taps the tile has to visit.
template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ int32_t prologue(const typename Pass::Params& params, const GemmTile& tile,
                                            const GemmSmem<kConfig, Element>& smem) {
  scan_rows<Pass, kConfig, Element>(params, tile, smem);
  __syncthreads();
  if (threadIdx.x < 32) list_live_taps<Pass, kConfig, Element>(params, smem);
  __syncthreads();
  return ptx::load_shared(smem.live_count);
}

}  // namespace maskconv
