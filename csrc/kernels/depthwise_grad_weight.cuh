// The gradient for the weight of depthwise layers (plan/depthwise.h): a thread keeps the sums of one strip of
// taps for one vector of channels, over its share of the runs of a split. As in the forward, a value of the
// input meets every row and tap of a run and strip from registers.
#pragma once

#include "device/depthwise_runs.cuh"
#include "plan/depthwise_grad_weight.h"

namespace maskconv {
namespace depthwise {

// A block has a strip's channels side by side in a line of 32 vectors, as often as they fit, and
// kStageStrips such lines: first each strip once, then, if there is room, again. All that hold the same
// strip and channels share the runs between them.
struct WeightThread {
  int32_t strip;   // of the block's
  int32_t vector;  // of the block's
  int32_t place;   // in the line, in vectors
  int32_t share;   // which of the runs: the share-th of every params.shares
  int32_t line;    // of kStageStrips

  __device__ __forceinline__ explicit WeightThread(const WeightParams& params) {
    const int32_t vectors = params.shape.vectors_of_block, in_line = vectors * params.copies_of_line;
    place = threadIdx.x % in_line;
    line = threadIdx.x / in_line;
    vector = place % vectors;
    strip = line % params.strips_of_block;
    share = line / params.strips_of_block * params.copies_of_line + place / vectors;
  }
};

// Half a warp a run: which of its rows have a valid gradient.
template <class Smem>
__device__ __forceinline__ void scan_valid_rows(const WeightParams& params, int32_t runs, const Smem& smem) {
  const int32_t row = threadIdx.x % kCountedShift;
  for (int32_t first = 0; first < runs; first += kThreads / kCountedShift) {
    const int32_t run = first + threadIdx.x / kCountedShift;
    bool valid = run < runs && row < ptx::load_shared(smem.run_place(run)).rows;
    if (valid && params.valid != nullptr) {
      const int64_t window = ptx::load_shared(smem.run_window(run)) + row * params.shape.row_step;
      valid = ptx::load_global(params.valid + window) != 0;
    }
    const uint32_t rows = __ballot_sync(~0u, valid) >> (threadIdx.x % 32 - row) & ((1u << kRunRows) - 1);
    if (row == 0 && run < runs) ptx::store_shared(smem.valid_rows(run), rows);
  }
}

template <class Element, int32_t kVector>
__device__ __forceinline__ void multiply_run(const WeightParams& params, const WeightThread& thread,
                                             int32_t run, int32_t channel, const Smem<Element, kVector>& smem,
                                             Sums<Accumulator<Element>, kVector> (&sums)[kStripTaps]) {
  struct alignas(kVector * sizeof(Element)) Values {
    Element value[kVector];
  };
  const uint32_t live = ptx::load_shared(smem.word(thread.strip, run)) & ((1u << kSpan) - 1);
  const uint32_t rows = ptx::load_shared(smem.valid_rows(run));
  if (live == 0 || rows == 0) return;
  const int64_t channels = params.problem.channels;
  const Element* input = static_cast<const Element*>(params.input) + channel +
                         ptx::load_shared(smem.run_base(run)).source +
                         ptx::load_shared(smem.strip_delta(thread.strip)) * channels;
  const Element* const grad =
      static_cast<const Element*>(params.grad) + channel + ptx::load_shared(smem.run_result(run)) * channels;
  const int64_t source_step = params.shape.source_step * channels;
  const int64_t row_step = params.shape.row_step * channels;
  Values of_row[kRunRows];
#pragma unroll
  for (int32_t row = 0; row < kRunRows; ++row) {
    of_row[row] = Values{};
    if (rows >> row & 1)
      of_row[row] = ptx::load_global(reinterpret_cast<const Values*>(grad + row * row_step));
  }
#pragma unroll
  for (int32_t j = 0; j < kSpan; ++j) {
    Values value{};
    if (live >> j & 1) value = ptx::load_global(reinterpret_cast<const Values*>(input));
    input += source_step;
#pragma unroll
    for (int32_t row = 0; row < kRunRows; ++row) {
      const int32_t tap = j - row;
      if (tap < 0 || tap >= kStripTaps) continue;
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i)
        sums[tap].value[i] += to_accumulator(of_row[row].value[i]) * to_accumulator(value.value[i]);
    }
  }
}

// Adds up what the threads of the same strip and channels have, in order of their lines and places, and
// stores it: transposed, as the weights are loaded in the forward.
template <class Element, int32_t kVector>
__device__ __forceinline__ void store_weights(const WeightParams& params, int64_t split,
                                              int32_t first_channel, const Smem<Element, kVector>& smem) {
  using Acc = Accumulator<Element>;
  constexpr int32_t kTapsAtOnce = 32 / int32_t{sizeof(Acc)};
  const int32_t copy = params.shape.vectors_of_block * kVector;
  const int32_t remaining = params.problem.channels - first_channel;
  const int32_t channels = copy < remaining ? copy : remaining;
  const int32_t taps = params.strips_of_block * kStripTaps;
  Acc* const partial = static_cast<Acc*>(params.workspace) + split * params.elements();
  for (int32_t line = threadIdx.x % kTapsAtOnce; line < taps; line += kTapsAtOnce) {
    const int32_t strip = line / kStripTaps, of_strip = line % kStripTaps;
    if (of_strip >= ptx::load_shared(smem.strip_place(strip)).taps) continue;
    const int32_t tap = ptx::load_shared(smem.strip_tap(strip)) + of_strip * params.shape.tap_step;
    for (int32_t channel = threadIdx.x / kTapsAtOnce; channel < channels; channel += kThreads / kTapsAtOnce) {
      Acc sum{0};
      for (int32_t again = 0; again < params.copies_of_strips; ++again)
        for (int32_t i = 0; i < params.copies_of_line; ++i)
          sum += ptx::load_shared(smem.line(again * taps + line) + i * copy + channel);
      const int64_t at = int64_t{first_channel + channel} * params.problem.taps() + tap;
      if (params.splits > 1) {
        ptx::store_global(partial + at, sum);
      } else {
        ptx::store_global(static_cast<Element*>(params.result) + at, from_accumulator<Element>(sum));
      }
    }
  }
}

}  // namespace depthwise

template <class Element, int32_t kVector>
__global__ void __launch_bounds__(depthwise::kThreads, depthwise::kBlocksOfMultiprocessor)
    depthwise_grad_weight(const __grid_constant__ depthwise::WeightParams params) {
  using namespace depthwise;
  using Chunk = Sums<Accumulator<Element>, kVector>;
  const Shape& shape = params.shape;
  const Smem<Element, kVector> smem;
  const int32_t index = threadIdx.x;
  const uint32_t tiles = static_cast<uint32_t>(params.blocks_of_split());
  const uint32_t tile = blockIdx.x % tiles;
  const int64_t split = blockIdx.x / tiles;
  const int32_t first_channel =
      static_cast<int32_t>(tile % shape.column_blocks) * shape.vectors_of_block * kVector;
  const int32_t first_strip = static_cast<int32_t>(tile / shape.column_blocks) * params.strips_of_block;
  const WeightThread thread(params);
  const int32_t channel = first_channel + thread.vector * kVector;
  const bool multiplies =
      thread.line < params.strips_of_block * params.copies_of_strips && channel < params.problem.channels;

  if (index < kStageStrips)
    place_strip<Forward>(params.problem, shape,
                         index < params.strips_of_block ? first_strip + index : shape.strips, smem, index);
  Chunk sums[kStripTaps] = {};
  const int64_t begin = split * params.runs_of_split;
  const int64_t end = begin + params.runs_of_split < shape.runs ? begin + params.runs_of_split : shape.runs;
  for (int64_t first = begin; first < end; first += kMaxRuns) {
    const int32_t runs = static_cast<int32_t>(end - first < kMaxRuns ? end - first : kMaxRuns);
    if (first > begin) __syncthreads();  // the runs before have been read
    if (index < runs) {
      place_run<Forward>(params.forward, shape, first + index, smem, index);
      int32_t rows;
      RowIndex place = first_of_run<Forward>(params.problem, shape, first + index, rows);
      const int64_t image = params.problem.mask_batch > 1 ? place.image : 0;
      ptx::store_shared(smem.run_window(index), position(params.problem.output, image, place.at));
    }
    __syncthreads();  // the runs are placed
    scan_words<Forward>(params.forward, shape, runs, smem);
    scan_valid_rows(params, runs, smem);
    __syncthreads();  // their bits are known
    if (multiplies)
      for (int32_t run = thread.share; run < runs; run += params.shares())
        multiply_run<Element, kVector>(params, thread, run, channel, smem, sums);
  }

  if (multiplies)
#pragma unroll
    for (int32_t tap = 0; tap < kStripTaps; ++tap)
      ptx::store_shared(reinterpret_cast<Chunk*>(smem.line(thread.line * kStripTaps + tap)) + thread.place,
                        sums[tap]);
  __syncthreads();  // all have left their sums
  store_weights<Element, kVector>(params, split, first_channel, smem);
}

}  // namespace maskconv
