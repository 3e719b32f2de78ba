// The forward pass as the implicit GEMM sees it: rows are output positions, the source is the input under the
// mask, columns are filters.
#pragma once

#include "device/row_order.cuh"
#include "device/weight_sum.cuh"
#include "device/weights.cuh"
#include "device/window.cuh"
#include "device/window_scale.cuh"
#include "plan/forward_params.h"

namespace maskconv {

struct Forward {
  using Params = ForwardParams;
  template <GemmConfig kConfig, class Element>
  using Weights = WeightColumns<kConfig, Element>;
  static constexpr bool kHasBias = true;
  static constexpr bool kScalesSource = false;

  static constexpr int32_t blocks(const GemmConfig& config) { return config.blocks; }

  static __device__ __forceinline__ const Axes& source_sizes(const ConvProblem& problem) {
    return problem.input;
  }
  static __device__ __forceinline__ int32_t axis_delta(const ConvProblem& problem, int axis, int32_t tap) {
    return tap * problem.dilation[axis];
  }

  struct Row : RowIndex {
    int64_t position = -1;  // in the output, of all images
    bool gathers = false;
  };

  // Of the output at `place`, whose number is `q`.
  static __device__ __forceinline__ Row row_of(const Params& params, const RowIndex& place, int64_t q) {
    const ConvProblem& problem = params.problem;
    Row row{place, q, true};
    for (int axis = 0; axis < kAxes; ++axis)
      row.at[axis] = row.at[axis] * problem.stride[axis] - problem.padding[axis];
    return row;
  }

  static __device__ __forceinline__ Row row(const Params& params, int64_t q) {
    return row_of(params, RowIndex(params.problem.output, q), q);
  }

  static __device__ __forceinline__ uint32_t row_class(const ConvProblem&, const Row&) { return 0; }

  struct Rows {
    const Params& params;
    const int64_t first;

    __device__ __forceinline__ Rows(const Params& params, const GemmTile& tile, int32_t block_m)
        : params(params), first(int64_t{tile.row_tile} * block_m) {}

    __device__ __forceinline__ Row at(int32_t index) const {
      const int64_t q = row_at(params, first + index, params.problem.rows());
      if (q < 0) return {};  // nothing is live, and nothing will be stored
      return row(params, q);
    }
  };

  struct Walk {
    int32_t at;
    const int32_t step;

    __device__ __forceinline__ Walk(const Params& params, const Row& row, int axis)
        : at(row.at[axis]), step(params.problem.dilation[axis]) {}
    __device__ __forceinline__ bool lands() const { return true; }
    __device__ __forceinline__ void next() { at += step; }
  };

  struct Window {
    int32_t sum = 0;
    bool center = false;  // the centre tap counts as valid
    const bool pad_is_valid;
    const int32_t center_tap;

    __device__ __forceinline__ explicit Window(const ConvProblem& problem)
        : pad_is_valid(problem.pad_is_valid),
          center_tap((problem.center(0) * problem.kernel[1] + problem.center(1)) * problem.kernel[2] +
                     problem.center(2)) {}

    __device__ __forceinline__ void count(int32_t tap, bool live, bool in_image) {
      const bool counts = live || (pad_is_valid && !in_image);
      sum += counts;
      if (tap == center_tap) center = counts;
    }
  };

  // valid(q); of windows given, which differ between groups, finish_row knows.
  static __device__ __forceinline__ bool is_valid(const Params& params, const Window& window) {
    if (params.given.valid != nullptr) return true;
    return params.problem.mask_update == MaskUpdate::kCenter ? window.center
                                                             : window.sum >= params.minimum_sum;
  }

  template <class Acc>
  struct alignas(kRowResultBytes) RowResult {
    RowPlace place;
    Acc scale;
  };

  template <class Acc, class Smem>
  static __device__ __forceinline__ void finish_row(const Params& params, const GemmTile& tile,
                                                    const Row& row, const Window& window, bool valid,
                                                    const Smem& smem, int32_t index) {
    RowResult<Acc>* const result = smem.template row_result<RowResult<Acc>>(index);
    if (params.given.valid != nullptr && row.gathers) {
      ptx::store_shared(result, given_result<Acc>(params, tile, row));
      return;
    }
    const ConvProblem& problem = params.problem;
    const Acc scale = window_scale<Acc>(problem.normalization, problem.taps(), window.sum);
    ptx::store_shared(result, RowResult<Acc>{RowPlace(row.position, valid), scale});
    if (tile.speaks_for_rows && row.position >= 0) store_window(params, row.position, window.sum, valid);
  }

  template <class Acc>
  static __device__ __forceinline__ RowResult<Acc> given_result(const Params& params, const GemmTile& tile,
                                                                const Row& row) {
    const ConvProblem& problem = params.problem;
    const Windows& windows = params.given;
    const int64_t of_image =
        problem.window_batch() > 1 ? row.position : row.position - row.image * problem.output_positions();
    const int64_t window = of_image * windows.channels + (windows.channels > 1 ? tile.group : 0);
    const bool valid = ptx::load_global(windows.valid + window) != 0;
    return {RowPlace(row.position, valid), window_scale<Acc>(problem.normalization, windows, window)};
  }

  // Window sum and output mask of a row. Of a shared mask, the rows of the first image speak for all.
  static __device__ __forceinline__ void store_window(const Params& params, int64_t row, int32_t sum,
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

  template <class Acc>
  static __device__ __forceinline__ Acc finish(const Params& params, const RowResult<Acc>& row, Acc sum,
                                               Acc bias) {
    const Acc filled = params.problem.fill_with_bias ? bias : static_cast<Acc>(params.problem.fill);
    return row.place.valid() ? row.scale * sum + bias : filled;
  }
  template <class Acc>
  static __device__ __forceinline__ Acc finish(const Params& params, const RowResult<Acc>& row, Acc sum,
                                               Acc bias, Acc weight_sum) {
    return finish_filter(params.problem, row.scale, sum, bias, row.place.valid() ? weight_sum : Acc{0});
  }

  // How the sums of one row become results.
  template <class Acc>
  struct Finish {
    RowResult<Acc> row;
    int64_t position;  // in the output; < 0: there is no such row

    template <class Smem>
    __device__ __forceinline__ Finish(const Smem& smem, int32_t index)
        : row(ptx::load_shared(smem.template row_result<RowResult<Acc>>(index))),
          position(row.place.position()) {}

    __device__ __forceinline__ Acc operator()(const Params& params, Acc sum, Acc bias) const {
      return finish(params, row, sum, bias);
    }
    __device__ __forceinline__ Acc operator()(const Params& params, Acc sum, Acc bias, Acc weight_sum) const {
      return finish(params, row, sum, bias, weight_sum);
    }
  };
};

}  // namespace maskconv
