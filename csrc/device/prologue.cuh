// The prologue: all there is to know about the masks, once per row, and then once per tile. Stride, dilation,
// padding and rank end here; the main loop knows row_base + live_delta and a bit.
//
// What rows and taps mean is the pass's (kernels/forward.cuh, kernels/grad_input.cuh), a class with
//   Params              derived from GemmParams
//   Weights             device/weights.cuh: how tensor cores get at the weights
//   row(params, number) the Row of a position
//   blocks(config)      of the mma kernel that must fit a multiprocessor; 0: ptxas chooses
//   row_class(problem, row)  rows of different ones have no tap in common
//   Rows                made of (params, tile, block_m); at(index) is a Row of the tile
//   Row                 position, < 0 beyond the last row; image and at[], the source position under tap 0;
//                       `gathers`: has it taps at all
//   kScalesSource       has the source a scale (params.scale, unless null) on its way into the sums; then
//                       scale(params, tile, window of its RowResult, positions ahead) is that
//   Walk                of (params, row, axis): the source positions of successive taps along one axis
//   source_sizes(problem), axis_delta(problem, axis, tap)   tap's source position less that of tap 0
//   Window              what is counted while a row's taps are visited
//   is_valid            from that: do the row's sums end up in the result
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

// Visits the taps of one row in ascending order: a tap is live where it leads to a valid source position.
template <class Pass, class Taps>
__device__ __forceinline__ void scan_window(const typename Pass::Params& params,
                                            const typename Pass::Row& row, int32_t group,
                                            typename Pass::Window& window, Taps& taps) {
  using Walk = typename Pass::Walk;
  const ConvProblem& problem = params.problem;
  const Axes& sizes = Pass::source_sizes(problem);
  const int64_t image = problem.mask_batch > 1 ? row.image : 0;
  const int32_t windows = params.source_windows;
  const uint8_t* const source_valid = params.source_valid + (windows > 1 ? group : 0);
  int32_t tap = 0;
  Walk along_d(params, row, 0);
  for (int32_t d = 0; d < problem.kernel[0]; ++d, along_d.next()) {
    const bool inside_d = along_d.lands() && inside(sizes, 0, along_d.at);
    Walk along_h(params, row, 1);
    for (int32_t h = 0; h < problem.kernel[1]; ++h, along_h.next()) {
      const bool inside_h = inside_d && along_h.lands() && inside(sizes, 1, along_h.at);
      const uint8_t* line = source_valid + position(sizes, image, {along_d.at, along_h.at, 0}) * windows;
      Walk along_w(params, row, 2);
#pragma unroll 4
      for (int32_t w = 0; w < problem.kernel[2]; ++w, ++tap, along_w.next()) {
        const bool in_source = inside_h && along_w.lands() && inside(sizes, 2, along_w.at);
        const bool live = in_source && (params.source_valid == nullptr ||
                                        ptx::load_global(line + int64_t{along_w.at} * windows) != 0);
        taps.add(tap, live);
        window.count(tap, live, in_source);
      }
    }
  }
}

// The bitset of a row of the tile, in shared memory.
template <class Smem>
class TapWords {
 public:
  __device__ __forceinline__ TapWords(const Smem& smem, int32_t index, int32_t taps)
      : smem_(smem), index_(index), last_tap_(taps - 1) {}

  __device__ __forceinline__ void add(int32_t tap, bool live) {
    bits_ |= uint32_t{live} << (tap % kTapsPerWord);
    if (tap % kTapsPerWord < kTapsPerWord - 1 && tap < last_tap_) return;
    ptx::store_shared(smem_.tap_word(index_, tap), bits_);
    bits_ = 0;
  }

  __device__ __forceinline__ void clear() const {
    for (int32_t tap = 0; tap <= last_tap_; tap += kTapsPerWord)
      ptx::store_shared(smem_.tap_word(index_, tap), 0u);
  }

 private:
  const Smem& smem_;
  const int32_t index_;
  const int32_t last_tap_;
  uint32_t bits_ = 0;
};

template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ void scan_rows(const typename Pass::Params& params, const GemmTile& tile,
                                          const GemmSmem<kConfig, Element>& smem) {
  const ConvProblem& problem = params.problem;
  const typename Pass::Rows rows(params, tile, kConfig.block_m);
  for (int32_t index = threadIdx.x; index < kConfig.block_m; index += kConfig.threads()) {
    const typename Pass::Row row = rows.at(index);
    typename Pass::Window window(problem);
    TapWords taps(smem, index, problem.taps());
    if (row.gathers) scan_window<Pass>(params, row, tile.group, window, taps);
    const bool valid = row.gathers && Pass::is_valid(params, window);
    int64_t base = 0;
    if (valid) {
      base = position(Pass::source_sizes(problem), row.image, row.at) * params.source_pitch +
             int64_t{tile.group} * params.depth;
    } else {
      taps.clear();  // no tile visits a tap for a row that its sums do not reach
    }
    ptx::store_shared(smem.row_base + index, base);
    Pass::template finish_row<Accumulator<Element>>(params, tile, row, window, valid, smem, index);
  }
}

// One warp: the taps that some row of the tile needs, in ascending order.
template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ void list_live_taps(const ConvProblem& problem,
                                               const GemmSmem<kConfig, Element>& smem) {
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
      ptx::store_shared(smem.live_tap + slot, static_cast<uint16_t>(tap));
      ptx::store_shared(smem.live_delta + slot, delta);
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
  if (threadIdx.x < 32) list_live_taps<Pass, kConfig, Element>(params.problem, smem);
  __syncthreads();
  return ptx::load_shared(smem.live_count);
}

}  // namespace maskconv
