// The prologue: all there is to know about the mask, once per output row, and then once per tile. Stride,
// dilation, padding and rank end here; the main loop knows row_base + live_delta and a bit.
#pragma once

#include <cmath>

#include "device/smem.cuh"

namespace maskconv {

// 64-bit division is a long routine on the device, and hardly ever needed.
__device__ __forceinline__ int64_t divide(int64_t value, int32_t divisor) {
  if (value <= UINT32_MAX) return static_cast<uint32_t>(value) / static_cast<uint32_t>(divisor);
  return value / divisor;
}

// Where the window of an output row starts: the position under tap 0, which may lie outside the image.
struct Window {
  int64_t image;
  int32_t origin[kAxes];

  __device__ __forceinline__ Window(const ConvProblem& problem, int64_t row) {
    for (int axis = kAxes - 1; axis >= 0; --axis) {
      const int64_t rest = divide(row, problem.output[axis]);
      const int32_t at = static_cast<int32_t>(row - rest * problem.output[axis]);
      origin[axis] = at * problem.stride[axis] - problem.padding[axis];
      row = rest;
    }
    image = row;
  }

  // In positions, from the start of an array of `images` images; only live taps lead back into the array.
  __device__ __forceinline__ int64_t position(const ConvProblem& problem, int64_t first_image) const {
    return ((first_image * problem.input[0] + origin[0]) * problem.input[1] + origin[1]) * problem.input[2] +
           origin[2];
  }
};

// Positions between tap 0 and tap (d, h, w).
__device__ __forceinline__ int64_t tap_delta(const ConvProblem& problem, int32_t d, int32_t h, int32_t w) {
  return (int64_t{d} * problem.dilation[0] * problem.input[1] + h * problem.dilation[1]) * problem.input[2] +
         w * problem.dilation[2];
}

__device__ __forceinline__ bool inside(const ConvProblem& problem, int axis, int32_t at) {
  return static_cast<uint32_t>(at) < static_cast<uint32_t>(problem.input[axis]);
}

struct WindowSum {
  int32_t sum = 0;
  bool center = false;  // the centre tap counts as valid
};

// Visits the taps of one row: writes its bitset, and counts.
template <class Smem>
__device__ __forceinline__ WindowSum scan_window(const ForwardParams& params, const Window& window,
                                                 const Smem& smem, int32_t row) {
  const ConvProblem& problem = params.problem;
  const int64_t first = window.position(problem, problem.mask_batch > 1 ? window.image : 0);
  const int32_t center =
      (problem.center(0) * problem.kernel[1] + problem.center(1)) * problem.kernel[2] + problem.center(2);
  WindowSum result;
  uint32_t bits = 0;
  int32_t tap = 0;
  for (int32_t d = 0; d < problem.kernel[0]; ++d) {
    const bool inside_d = inside(problem, 0, window.origin[0] + d * problem.dilation[0]);
    for (int32_t h = 0; h < problem.kernel[1]; ++h) {
      const bool inside_h = inside_d && inside(problem, 1, window.origin[1] + h * problem.dilation[1]);
      const uint8_t* mask_row = params.mask + first + tap_delta(problem, d, h, 0);
#pragma unroll 4
      for (int32_t w = 0; w < problem.kernel[2]; ++w) {
        const int32_t step = w * problem.dilation[2];
        const bool in_image = inside_h && inside(problem, 2, window.origin[2] + step);
        const bool live = in_image && (params.mask == nullptr || ptx::load_global(mask_row + step) != 0);
        const bool counts = live || (problem.pad_is_valid && !in_image);
        bits |= uint32_t{live} << (tap % kTapsPerWord);
        result.sum += counts;
        if (tap == center) result.center = counts;
        if (++tap % kTapsPerWord == 0) {
          ptx::store_shared(smem.tap_word(row, tap - 1), bits);
          bits = 0;
        }
      }
    }
  }
  if (tap % kTapsPerWord != 0) ptx::store_shared(smem.tap_word(row, tap - 1), bits);
  return result;
}

// Not applied where nothing was summed: a ratio to zero is no number.
template <class Acc>
__device__ __forceinline__ Acc window_scale(Normalization normalization, int32_t taps, int32_t sum) {
  if (sum == 0) return 1;
  switch (normalization) {
    case Normalization::kRatio:
      return static_cast<Acc>(taps) / static_cast<Acc>(sum);
    case Normalization::kMean:
      return 1 / static_cast<Acc>(sum);
    case Normalization::kSqrt:
      return std::sqrt(static_cast<Acc>(taps) / static_cast<Acc>(sum));
    default:
      return 1;
  }
}

// Window sum and output mask of a row. Of a shared mask, the rows of the first image speak for all.
__device__ __forceinline__ void store_window(const ForwardParams& params, int64_t row, int32_t sum,
                                             bool valid) {
  const ConvProblem& problem = params.problem;
  if (row >= problem.window_batch() * problem.output_positions()) return;
  ptx::store_global(params.window_sum + row, sum);
  if (problem.mask_update == MaskUpdate::kFraction) {
    const float fraction = static_cast<float>(sum) / static_cast<float>(problem.taps());
    ptx::store_global(static_cast<float*>(params.out_mask) + row, fraction);
  } else {
    ptx::store_global(static_cast<uint8_t*>(params.out_mask) + row, static_cast<uint8_t>(valid));
  }
}

template <ForwardConfig kConfig, class Element>
__device__ __forceinline__ void scan_rows(const ForwardParams& params, const ForwardTile& tile,
                                          const ForwardSmem<kConfig, Element>& smem) {
  const ConvProblem& problem = params.problem;
  const int32_t taps = problem.taps();
  for (int32_t row = threadIdx.x; row < kConfig.block_m; row += kConfig.threads()) {
    const int64_t q = tile.first_row + row;
    if (q >= problem.rows()) {  // beyond the last row nothing is live, and the epilogue stores nothing
      for (int32_t tap = 0; tap < taps; tap += kTapsPerWord) ptx::store_shared(smem.tap_word(row, tap), 0u);
      ptx::store_shared(smem.row_base + row, int64_t{0});
      continue;
    }
    const Window window(problem, q);
    const WindowSum found = scan_window(params, window, smem, row);
    const bool valid =
        problem.mask_update == MaskUpdate::kCenter ? found.center : found.sum >= params.minimum_sum;
    const int64_t base = window.position(problem, window.image) * problem.channels +
                         int64_t{tile.group} * problem.channels_per_group();
    ptx::store_shared(smem.row_base + row, base);
    ptx::store_shared(smem.row_scale + row,
                      window_scale<Accumulator<Element>>(problem.normalization, taps, found.sum));
    ptx::store_shared(smem.row_valid + row, int32_t{valid});
    if (tile.first_column) store_window(params, q, found.sum, valid);
  }
}

// One warp: the taps that some row of the tile needs, in ascending order.
template <ForwardConfig kConfig, class Element>
__device__ __forceinline__ void list_live_taps(const ForwardParams& params,
                                               const ForwardSmem<kConfig, Element>& smem) {
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
      const int64_t delta =
          tap_delta(problem, plane / problem.kernel[1], plane % problem.kernel[1], tap % problem.kernel[2]);
      ptx::store_shared(smem.live_tap + slot, tap);
      ptx::store_shared(smem.live_delta + slot, delta * problem.channels);
    }
    count += __popc(live);
  }
  if (lane == 0) ptx::store_shared(smem.live_count, count);
}

// Fills all of `smem` but the stages, and returns how many taps the tile has to visit.
template <ForwardConfig kConfig, class Element>
__device__ __forceinline__ int32_t prologue(const ForwardParams& params, const ForwardTile& tile,
                                            const ForwardSmem<kConfig, Element>& smem) {
  scan_rows<kConfig, Element>(params, tile, smem);
  __syncthreads();
  if (threadIdx.x < 32) list_live_taps<kConfig, Element>(params, smem);
  __syncthreads();
  return ptx::load_shared(smem.live_count);
}

}  // namespace maskconv
