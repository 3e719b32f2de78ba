// The gradient of the accumulator for the input, as the implicit GEMM sees it: rows are input positions,
// in raster order those of one stride class in a tile; the source is the output's gradient where it is valid;
// columns are channels.
#pragma once

#include "device/row_order.cuh"
#include "device/weights.cuh"
#include "device/window.cuh"
#include "plan/grad_input_params.h"

namespace maskconv {

struct GradInput {
  using Params = GradInputParams;
  template <GemmConfig kConfig, class Element>
  using Weights = WeightDepths<kConfig, Element>;
  static constexpr bool kHasBias = false;

  static __device__ __forceinline__ const Axes& source_sizes(const ConvProblem& problem) {
    return problem.output;
  }
  // With p + padding = stride * at + rest, tap t leads to output (stride * at + rest - t * dilation) /
  // stride, if t * dilation leaves the same rest: as far before `at` as strides fit into t * dilation.
  static __device__ __forceinline__ int32_t axis_delta(const ConvProblem& problem, int axis, int32_t tap) {
    return -(tap * problem.dilation[axis] / problem.stride[axis]);
  }

  struct Row : RowIndex {
    int32_t rest[kAxes] = {};
    int64_t position = -1;  // in the input, of all images
    bool gathers = false;
  };

  // Of the input at `place`.
  static __device__ __forceinline__ Row row_of(const Params& params, const RowIndex& place) {
    const ConvProblem& problem = params.problem;
    Row row{place};
    for (int axis = 0; axis < kAxes; ++axis) {
      row.at[axis] = (place.at[axis] + problem.padding[axis]) / problem.stride[axis];
      row.rest[axis] = (place.at[axis] + problem.padding[axis]) % problem.stride[axis];
    }
    row.position = position(problem.input, place.image, place.at);
    const int64_t in_mask = position(problem.input, problem.mask_batch > 1 ? place.image : 0, place.at);
    row.gathers = params.mask == nullptr || ptx::load_global(params.mask + in_mask) != 0;
    return row;
  }
  static __device__ __forceinline__ Row row(const Params& params, int64_t position) {
    return row_of(params, RowIndex(params.problem.input, position));
  }

  static __device__ __forceinline__ uint32_t row_class(const ConvProblem& problem, const Row& row) {
    return (uint32_t(row.rest[0]) * problem.stride[1] + row.rest[1]) * problem.stride[2] + row.rest[2];
  }

  // Classes run faster than the positions within one: blocks that share a part of the source run together.
  struct Rows {
    const Params& params;
    int64_t first;  // row within the class ...
    int64_t rows;   // ... which has so many
    int32_t class_first[kAxes];
    int32_t extent[kAxes];

    __device__ __forceinline__ Rows(const Params& params, const GemmTile& tile, int32_t block_m)
        : params(params),
          first(int64_t{tile.row_tile / params.classes} * block_m),
          rows(params.problem.batch) {
      int32_t index = static_cast<int32_t>(tile.row_tile % params.classes);
      for (int axis = kAxes - 1; axis >= 0; --axis) {
        class_first[axis] = index % params.class_count[axis];
        index /= params.class_count[axis];
        extent[axis] = class_extent(params.problem.input[axis], params.class_stride[axis], class_first[axis]);
        rows *= extent[axis];
      }
    }

    __device__ __forceinline__ Row at(int32_t index) const {
      const int64_t row = row_at(params, first + index, rows);
      if (row < 0) return {};
      RowIndex place(extent, row);
      for (int axis = 0; axis < kAxes; ++axis)
        place.at[axis] = class_first[axis] + place.at[axis] * params.class_stride[axis];
      return row_of(params, place);
    }
  };

  // Steps of one dilation back, in strides and what is left of one.
  struct Walk {
    int32_t at;
    int32_t rest;
    const int32_t stride;
    const int32_t whole;
    const int32_t part;

    __device__ __forceinline__ Walk(const Params& params, const Row& row, int axis)
        : at(row.at[axis]),
          rest(row.rest[axis]),
          stride(params.problem.stride[axis]),
          whole(params.problem.dilation[axis] / stride),
          part(params.problem.dilation[axis] % stride) {}
    __device__ __forceinline__ bool lands() const { return rest == 0; }
    __device__ __forceinline__ void next() {
      at -= whole;
      rest -= part;
      if (rest < 0) {
        rest += stride;
        --at;
      }
    }
  };

  struct Window {
    __device__ __forceinline__ explicit Window(const ConvProblem&) {}
    __device__ __forceinline__ void count(int32_t, bool, bool) {}
  };

  static __device__ __forceinline__ bool is_valid(const Params&, const Window&) { return true; }

  template <class Acc>
  using RowResult = RowPlace;

  template <class Acc, class Smem>
  static __device__ __forceinline__ void finish_row(const Params&, const GemmTile&, const Row& row,
                                                    const Window&, bool valid, const Smem& smem,
                                                    int32_t index) {
    ptx::store_shared(smem.template row_result<RowPlace>(index), RowPlace(row.position, valid));
  }

  // Chosen, not multiplied: an infinite weight times the zeros of a hole would be no number.
  template <class Acc>
  static __device__ __forceinline__ Acc finish(const Params&, const RowPlace& row, Acc sum, Acc) {
    return row.valid() ? sum : Acc{0};
  }

  // How the sums of one row become results.
  template <class Acc>
  struct Finish {
    RowPlace row;
    int64_t position;  // in the input; < 0: there is no such row

    template <class Smem>
    __device__ __forceinline__ Finish(const Smem& smem, int32_t index)
        : row(ptx::load_shared(smem.template row_result<RowPlace>(index))), position(row.position()) {}

    __device__ __forceinline__ Acc operator()(const Params& params, Acc sum, Acc bias) const {
      return finish<Acc>(params, row, sum, bias);
    }
  };
};

}  // namespace maskconv
