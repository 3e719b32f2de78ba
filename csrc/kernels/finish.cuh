// Makes results of a convolution's sums, in place: scale, bias, and fill where a window is not valid.
#pragma once

#include "device/element.cuh"
#include "device/row_blocks.cuh"
#include "device/weight_sum.cuh"
#include "device/window_scale.cuh"
#include "plan/finish.h"

namespace maskconv {

template <class Element, int32_t kVector>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerMultiprocessor)
    finish(const __grid_constant__ FinishParams params) {
  using Acc = Accumulator<Element>;
  using Vector = RowVector<Element, kVector>;
  const ConvProblem& problem = params.problem;
  const Windows& windows = params.windows;
  const RowThread thread(params, problem.rows());
  const int32_t column = thread.column;
  if (column >= problem.filters) return;

  Acc bias[kVector] = {};
  if (params.bias != nullptr)
#pragma unroll
    for (int32_t j = 0; j < kVector; ++j)
      bias[j] = to_accumulator(ptx::load_global(static_cast<const Element*>(params.bias) + column + j));
  const int32_t window_channel = column / (problem.filters / windows.channels);
  WrappedRow window_row(thread, problem.window_batch() * problem.output_positions());
  for (int64_t row = thread.row; row < thread.end; row += int64_t{kRowUnroll} * thread.rows_at_once) {
    Vector values[kRowUnroll];
    Acc scale[kRowUnroll];
    bool valid[kRowUnroll];
#pragma unroll
    for (int32_t i = 0; i < kRowUnroll; ++i) {  // all loads before the first store
      const int64_t at = row + i * thread.rows_at_once;
      const int64_t window = *window_row * windows.channels + window_channel;
      valid[i] = at < thread.end && ptx::load_global(windows.valid + window) != 0;
      scale[i] = valid[i] ? window_scale<Acc>(problem.normalization, windows, window) : Acc{0};
      values[i] = Vector{};
      if (valid[i]) {
        const Element* from = static_cast<const Element*>(params.y) + at * problem.filters + column;
        values[i] = ptx::load_global(reinterpret_cast<const Vector*>(from));
      }
      window_row.next();
    }
#pragma unroll
    for (int32_t i = 0; i < kRowUnroll; ++i) {
      const int64_t at = row + i * thread.rows_at_once;
      if (at >= thread.end) break;
      Acc weight_sums[kVector];
      if (params.weight_sum != nullptr && valid[i])
        load_weight_sums(weight_sums_at<Acc>(params.weight_sum, problem, at, column), weight_sums);
#pragma unroll
      for (int32_t j = 0; j < kVector; ++j) {
        const Acc filled = problem.fill_with_bias ? bias[j] : static_cast<Acc>(problem.fill);
        const Acc sum = to_accumulator(values[i].value[j]);
        Acc result = valid[i] ? scale[i] * sum + bias[j] : filled;
        if (params.weight_sum != nullptr && valid[i])
          result = finish_filter(problem, scale[i], sum, bias[j], weight_sums[j]);
        values[i].value[j] = from_accumulator<Element>(result);
      }
      Element* const to = static_cast<Element*>(params.y) + at * problem.filters + column;
      ptx::store_global(reinterpret_cast<Vector*>(to), values[i]);
    }
  }
}

}  // namespace maskconv
