// The forward and grad_input of depthwise layers (plan/depthwise.h). A thread keeps the sums of one run for
// one vector of channels; each strip of taps costs it at most kSpan loads, for up to kRunRows * kStripTaps
// products of every channel. Holes are not loaded.
#pragma once

#include "device/depthwise_runs.cuh"

namespace maskconv {
namespace depthwise {

// The weights of the stage's taps, transposed, in the order in which a strip meets the source: 8 (4) taps of
// 4 channels at once, which fall on different banks.
template <class Pass, class Element, int32_t kVector>
__device__ __forceinline__ void stage_weights(const GemmParams& params, const Shape& shape,
                                              int32_t first_channel, const Smem<Element, kVector>& smem) {
  constexpr int32_t kTapsAtOnce = 32 / int32_t{sizeof(Accumulator<Element>)};
  const ConvProblem& problem = params.problem;
  const int32_t remaining = problem.channels - first_channel;
  const int32_t wanted = shape.vectors_of_block * kVector;
  const int32_t channels = wanted < remaining ? wanted : remaining;
  const int32_t tap_step = Direction<Pass>::kDescending ? -shape.tap_step : shape.tap_step;
  const auto* const weight = static_cast<const Element*>(params.weight);
  for (int32_t line = threadIdx.x % kTapsAtOnce; line < kStageStrips * kStripTaps; line += kTapsAtOnce) {
    const int32_t strip = line / kStripTaps, of_strip = line % kStripTaps;
    if (of_strip >= ptx::load_shared(smem.strip_place(strip)).taps) continue;
    const int32_t tap = ptx::load_shared(smem.strip_tap(strip)) + of_strip * tap_step;
    for (int32_t channel = threadIdx.x / kTapsAtOnce; channel < channels; channel += kThreads / kTapsAtOnce) {
      const int64_t at = int64_t{first_channel + channel} * problem.taps() + tap;
      ptx::store_shared(smem.line(line) + channel, to_accumulator(ptx::load_global(weight + at)));
    }
  }
}

// Adds what the strips of a stage give to the rows of one run.
template <class Pass, class Element, int32_t kVector>
__device__ __forceinline__ void accumulate(const typename Pass::Params& params, const Shape& shape,
                                           int32_t run, int32_t vector, int32_t first_channel,
                                           const Smem<Element, kVector>& smem,
                                           Sums<Accumulator<Element>, kVector> (&sums)[kRunRows]) {
  using Weights = Sums<Accumulator<Element>, kVector>;
  struct alignas(kVector * sizeof(Element)) Values {
    Element value[kVector];
  };
  const int32_t channel = first_channel + vector * kVector;
  const RunBase of_run = ptx::load_shared(smem.run_base(run));
  const Element* const base = static_cast<const Element*>(params.source) + of_run.source + channel;
  const int64_t step = int64_t{shape.source_step} * params.source_pitch;
  for (int32_t strip = 0; strip < kStageStrips; ++strip) {
    const uint32_t word = ptx::load_shared(smem.word(strip, run));
    if ((word & ((1u << kSpan) - 1)) == 0) continue;
    const int64_t delta = ptx::load_shared(smem.strip_delta(strip));
    const Element* const from = base + delta * params.source_pitch;
    std::conditional_t<Pass::kScalesSource, Weights, Values> values[kSpan];
#pragma unroll
    for (int32_t j = 0; j < kSpan; ++j) {
      values[j] = {};
      if (!(word >> j & 1)) continue;
      const Values loaded = ptx::load_global(reinterpret_cast<const Values*>(from + j * step));
      if constexpr (Pass::kScalesSource) {
        const OutputGradient gradient{nullptr, params.source_valid, params.scale, params.source_windows};
        values[j] =
            scaled<Element, kVector>(gradient, loaded, of_run.valid + delta + j * shape.source_step, channel);
      } else {
        values[j] = loaded;
      }
    }
    const int32_t taps = ptx::load_shared(smem.strip_place(strip)).taps;
#pragma unroll
    for (int32_t tap = 0; tap < kStripTaps; ++tap) {
      if (tap >= taps) break;
      const auto* const line = reinterpret_cast<const Weights*>(smem.line(strip * kStripTaps + tap));
      const Weights weights = ptx::load_shared(line + vector);
#pragma unroll
      for (int32_t row = 0; row < kRunRows; ++row)
#pragma unroll
        for (int32_t i = 0; i < kVector; ++i)
          sums[row].value[i] += to_accumulator(values[row + tap].value[i]) * weights.value[i];
    }
  }
}

template <class Pass, class Element, int32_t kVector>
__device__ __forceinline__ void store(const Params<typename Pass::Params>& params, int32_t run,
                                      int32_t channel, const Smem<Element, kVector>& smem,
                                      const Sums<Accumulator<Element>, kVector> (&sums)[kRunRows]) {
  using Acc = Accumulator<Element>;
  struct alignas(kVector * sizeof(Element)) Result {
    Element value[kVector];
  };
  Acc bias[kVector] = {};
  if constexpr (Pass::kHasBias)
    if (params.bias != nullptr)
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i)
        bias[i] = to_accumulator(ptx::load_global(static_cast<const Element*>(params.bias) + channel + i));
  const int32_t rows = ptx::load_shared(smem.run_place(run)).rows;
  const int64_t first = ptx::load_shared(smem.run_result(run));
#pragma unroll
  for (int32_t row = 0; row < kRunRows; ++row) {
    if (row >= rows) break;
    const auto of_row = ptx::load_shared(
        smem.template row_result<typename Pass::template RowResult<Acc>>(run * kRunRows + row));
    const int64_t position = first + int64_t{row} * params.shape.row_step;
    Acc results[kVector];
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i)
      results[i] = Pass::template finish<Acc>(params, of_row, sums[row].value[i], bias[i]);
    if constexpr (Pass::kHasBias) {
      if (params.weight_sum != nullptr) {
        Acc weight_sums[kVector];
        load_weight_sums(weight_sums_at<Acc>(params.weight_sum, params.problem, position, channel),
                         weight_sums);
#pragma unroll
        for (int32_t i = 0; i < kVector; ++i)
          results[i] =
              Pass::template finish<Acc>(params, of_row, sums[row].value[i], bias[i], weight_sums[i]);
      }
    }
    Result result;
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i) result.value[i] = from_accumulator<Element>(results[i]);
    Element* const to = static_cast<Element*>(params.result) + position * params.result_pitch + channel;
    ptx::store_global(reinterpret_cast<Result*>(to), result);
  }
}

}  // namespace depthwise

template <class Pass, class Element, int32_t kVector>
__global__ void __launch_bounds__(depthwise::kThreads, depthwise::kBlocksOfMultiprocessor)
    depthwise_conv(const __grid_constant__ depthwise::Params<typename Pass::Params> params) {
  using namespace depthwise;
  using Acc = Accumulator<Element>;
  const Shape& shape = params.shape;
  const Smem<Element, kVector> smem;
  const int32_t thread = threadIdx.x;
  const int32_t column_block = blockIdx.x % static_cast<uint32_t>(shape.column_blocks);
  const int64_t first_run =
      int64_t{blockIdx.x / static_cast<uint32_t>(shape.column_blocks)} * shape.runs_of_block;
  const int32_t first_channel = column_block * shape.vectors_of_block * kVector;
  const int32_t run = thread / shape.vectors_of_block, vector = thread % shape.vectors_of_block;
  const bool sums_run =
      run < shape.runs_of_block && first_channel + vector * kVector < params.problem.channels;
  const int32_t row = thread % kRunRows, run_of_row = thread / kRunRows;  // the row this thread looks after

  if (thread < shape.runs_of_block) place_run<Pass>(params, shape, first_run + thread, smem, thread);
  typename Pass::Window window(params.problem);
  Sums<Acc, kVector> sums[kRunRows] = {};
  for (int32_t first_strip = 0; first_strip < shape.strips; first_strip += kStageStrips) {
    if (first_strip > 0) __syncthreads();  // the stage has been read
    if (thread < kStageStrips) place_strip<Pass>(params.problem, shape, first_strip + thread, smem, thread);
    __syncthreads();  // runs and strips are placed
    scan_words<Pass>(params, shape, shape.runs_of_block, smem);
    stage_weights<Pass>(params, shape, first_channel, smem);
    __syncthreads();  // the stage is complete
    if (run_of_row < shape.runs_of_block)
      for (int32_t strip = 0; strip < kStageStrips; ++strip) {
        const int32_t taps = ptx::load_shared(smem.strip_place(strip)).taps;
        if (taps == 0) continue;
        const uint32_t counted = ptx::load_shared(smem.word(strip, run_of_row)) >> (kCountedShift + row);
        Direction<Pass>::count(window, counted & ((1u << taps) - 1), taps,
                               ptx::load_shared(smem.strip_tap(strip)), shape.tap_step);
      }
    if (sums_run) accumulate<Pass, Element, kVector>(params, shape, run, vector, first_channel, smem, sums);
  }

  if (run_of_row < shape.runs_of_block) {
    int32_t rows;
    RowIndex place = first_of_run<Pass>(params.problem, shape, first_run + run_of_row, rows);
    if (row < rows) {
      place.at[2] += row * shape.row_step;
      GemmTile tile{};
      tile.speaks_for_rows = column_block == 0;
      const typename Pass::Row of_row = Direction<Pass>::row(params, place);
      const bool valid = of_row.gathers && Pass::is_valid(params, window);
      Pass::template finish_row<Acc>(params, tile, of_row, window, valid, smem, thread);
    }
  }
  __syncthreads();  // the results of all rows are known
  if (sums_run) store<Pass>(params, run, first_channel + vector * kVector, smem, sums);
}

}  // namespace maskconv
