// What a block of the depthwise kernels (plan/depthwise.h) knows of its runs and strips, and the bits that
// say which of their source positions are valid. Stride, dilation, padding, rank and masks end here.
#pragma once

#include "device/prologue.cuh"
#include "kernels/forward.cuh"
#include "kernels/grad_input.cuh"
#include "plan/depthwise.h"

namespace maskconv::depthwise {

// What the two passes differ in, besides what the implicit GEMM asks of them.
template <class Pass>
struct Direction;

template <>
struct Direction<Forward> {
  static constexpr bool kDescending = false;  // source positions rise with the taps

  static __device__ __forceinline__ const Axes& result_sizes(const ConvProblem& problem) {
    return problem.output;
  }
  static __device__ __forceinline__ Forward::Row row(const ForwardParams& params, const RowIndex& place) {
    return Forward::row_of(params, place, position(params.problem.output, place.image, place.at));
  }
  static __device__ __forceinline__ int32_t phase(const ConvProblem&, const Forward::Row&) { return 0; }
  static __device__ __forceinline__ int32_t phase(const ConvProblem&, int32_t, int32_t, int32_t) { return 0; }

  // A strip's part of a row's window: `counted` has a bit for each of its taps, from `tap` on.
  static __device__ __forceinline__ void count(Forward::Window& window, uint32_t counted, int32_t taps,
                                               int32_t tap, int32_t tap_step) {
    window.sum += __popc(counted);
    const int32_t ahead = window.center_tap - tap;
    if (ahead >= 0 && ahead % tap_step == 0 && ahead / tap_step < taps)
      window.center = counted >> (ahead / tap_step) & 1;
  }
};

template <>
struct Direction<GradInput> {
  static constexpr bool kDescending = true;

  static __device__ __forceinline__ const Axes& result_sizes(const ConvProblem& problem) {
    return problem.input;
  }
  static __device__ __forceinline__ GradInput::Row row(const GradInputParams& params, const RowIndex& place) {
    return GradInput::row_of(params, place);
  }
  // A tap leads from a position to an output if both leave the same rests of the strides.
  static __device__ __forceinline__ int32_t phase(const ConvProblem& problem, const GradInput::Row& row) {
    return static_cast<int32_t>(GradInput::row_class(problem, row));
  }
  static __device__ __forceinline__ int32_t phase(const ConvProblem& problem, int32_t d, int32_t h,
                                                  int32_t w) {
    GradInput::Row row;
    row.rest[0] = d * problem.dilation[0] % problem.stride[0];
    row.rest[1] = h * problem.dilation[1] % problem.stride[1];
    row.rest[2] = w * problem.dilation[2] % problem.stride[2];
    return phase(problem, row);
  }
  static __device__ __forceinline__ void count(GradInput::Window&, uint32_t, int32_t, int32_t, int32_t) {}
};

struct alignas(16) RunBase {
  int64_t source;  // offset under tap 0, channel 0
  int64_t valid;   // number of that position in the validity of the source
};
struct alignas(16) RunPlace {
  int32_t at[kAxes];  // in the source, under tap 0
  int32_t rows;       // that the run has; 0: there is no such run
};
struct alignas(16) StripPlace {
  int32_t at[kAxes];  // source position under its first tap less that under tap 0
  int32_t taps;       // that the strip has
};

template <class Element, int32_t kVector>
struct Smem {
  using Acc = Accumulator<Element>;
  static constexpr Layout kAt = layout(kDType<Element>, kVector);

  unsigned char* const base = ptx::dynamic_smem();

  __device__ __forceinline__ RunBase* run_base(int32_t run) const { return at<RunBase>(kAt.run_base) + run; }
  __device__ __forceinline__ RunPlace* run_place(int32_t run) const {
    return at<RunPlace>(kAt.run_place) + run;
  }
  __device__ __forceinline__ int64_t* run_result(int32_t run) const {
    return at<int64_t>(kAt.run_result) + run;
  }
  __device__ __forceinline__ int64_t* run_window(int32_t run) const {  // number of its first row's window
    return at<int64_t>(kAt.run_window) + run;
  }
  __device__ __forceinline__ int32_t* run_phase(int32_t run) const {
    return at<int32_t>(kAt.run_phase) + run;
  }
  __device__ __forceinline__ StripPlace* strip_place(int32_t strip) const {
    return at<StripPlace>(kAt.strip_place) + strip;
  }
  __device__ __forceinline__ int64_t* strip_delta(int32_t strip) const {  // in positions
    return at<int64_t>(kAt.strip_delta) + strip;
  }
  __device__ __forceinline__ int32_t* strip_tap(int32_t strip) const {  // the first in order of the source
    return at<int32_t>(kAt.strip_tap) + strip;
  }
  __device__ __forceinline__ int32_t* strip_phase(int32_t strip) const {
    return at<int32_t>(kAt.strip_phase) + strip;
  }
  // Bit j: value j of the strip in the run is valid. Bit 16 + j: it counts in the window sum.
  __device__ __forceinline__ uint32_t* word(int32_t strip, int32_t run) const {
    return at<uint32_t>(kAt.words) + strip * kMaxRuns + run;
  }
  template <class RowResult>
  __device__ __forceinline__ RowResult* row_result(int32_t row) const {
    static_assert(sizeof(RowResult) <= kRowResultBytes);
    return at<RowResult>(kAt.row_result) + row;
  }
  // A bit for each row of the run: in grad_weight, which has no results of rows.
  __device__ __forceinline__ uint32_t* valid_rows(int32_t run) const {
    return at<uint32_t>(kAt.row_result) + run;
  }
  __device__ __forceinline__ Acc* line(int32_t tap) const {  // of the weights of one tap
    return at<Acc>(kAt.lines) + tap * line_elements(kVector);
  }

 private:
  template <class T>
  __device__ __forceinline__ T* at(int32_t offset) const {
    return reinterpret_cast<T*>(base + offset);
  }
};

// What a thread sums for one vector of channels.
template <class Acc, int32_t kVector>
struct alignas(kVector * sizeof(Acc)) Sums {
  Acc value[kVector];
};

// Is any of a position's windows valid?
__device__ __forceinline__ bool any_valid(const uint8_t* valid, int64_t position, int32_t windows) {
  bool found = false;
  for (int32_t i = 0; i < windows && !found; ++i)
    found = ptx::load_global(valid + position * windows + i) != 0;
  return found;
}

// The gradient of the accumulator, from that of the output at a position where any window is valid. Where
// there are several, each channel has one.
template <class Element, int32_t kVector, class Values>
__device__ __forceinline__ Sums<Accumulator<Element>, kVector> scaled(const OutputGradient& gradient,
                                                                      const Values& loaded, int64_t position,
                                                                      int32_t channel) {
  using Acc = Accumulator<Element>;
  const auto* const scale = static_cast<const Acc*>(gradient.scale);
  Sums<Acc, kVector> result;
  if (gradient.window_channels == 1) {
    const Acc factor = scale != nullptr ? ptx::load_global(scale + position) : Acc{1};
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i) result.value[i] = to_accumulator(loaded.value[i]) * factor;
    return result;
  }
#pragma unroll
  for (int32_t i = 0; i < kVector; ++i) {
    const int64_t window = position * gradient.window_channels + channel + i;
    const bool valid = gradient.valid == nullptr || ptx::load_global(gradient.valid + window) != 0;
    const Acc factor = valid && scale != nullptr ? ptx::load_global(scale + window) : Acc{1};
    result.value[i] = valid ? to_accumulator(loaded.value[i]) * factor : Acc{0};
  }
  return result;
}

constexpr int32_t kCountedShift = 16;
static_assert(kSpan <= kCountedShift, "half a warp looks at the values of a strip");

// The r-th row of a run is row_step * r behind its first. `rows`: how many of them the result has.
template <class Pass>
__device__ __forceinline__ RowIndex first_of_run(const ConvProblem& problem, const Shape& shape, int64_t run,
                                                 int32_t& rows) {
  const Axes& sizes = Direction<Pass>::result_sizes(problem);
  rows = 0;
  if (run >= shape.runs) return {};
  RowIndex place({sizes[0], sizes[1], shape.runs_of_line}, run);
  const int32_t residue = place.at[2] / shape.runs_of_class;
  const int32_t before = place.at[2] % shape.runs_of_class * kRunRows;
  const int32_t left = (sizes[2] - 1 - residue) / shape.row_step + 1 - before;
  rows = left < 0 ? 0 : left < kRunRows ? left : kRunRows;
  place.at[2] = residue + before * shape.row_step;
  return place;
}

// One thread a run.
template <class Pass, class Smem>
__device__ __forceinline__ void place_run(const typename Pass::Params& params, const Shape& shape,
                                          int64_t run, const Smem& smem, int32_t index) {
  const ConvProblem& problem = params.problem;
  int32_t rows;
  const RowIndex first = first_of_run<Pass>(problem, shape, run, rows);
  const typename Pass::Row row = rows > 0 ? Direction<Pass>::row(params, first) : typename Pass::Row{};
  const Axes& sources = Pass::source_sizes(problem);
  const int64_t image = problem.mask_batch > 1 ? row.image : 0;
  ptx::store_shared(smem.run_base(index), RunBase{position(sources, row.image, row.at) * params.source_pitch,
                                                  position(sources, image, row.at)});
  ptx::store_shared(smem.run_place(index), RunPlace{{row.at[0], row.at[1], row.at[2]}, rows});
  ptx::store_shared(smem.run_result(index),
                    position(Direction<Pass>::result_sizes(problem), first.image, first.at));
  ptx::store_shared(smem.run_phase(index), Direction<Pass>::phase(problem, row));
}

// One thread a strip: taps of one line of the kernel, tap_step apart.
template <class Pass, class Smem>
__device__ __forceinline__ void place_strip(const ConvProblem& problem, const Shape& shape, int32_t strip,
                                            const Smem& smem, int32_t index) {
  if (strip >= shape.strips) {
    ptx::store_shared(smem.strip_place(index), StripPlace{{0, 0, 0}, 0});
    ptx::store_shared(smem.strip_delta(index), 0);
    ptx::store_shared(smem.strip_phase(index), 0);
    return;
  }
  const int32_t line = strip / shape.strips_of_line, of_line = strip % shape.strips_of_line;
  const int32_t d = line / problem.kernel[1], h = line % problem.kernel[1];
  const int32_t residue = of_line / shape.strips_of_residue;
  const int32_t before = of_line % shape.strips_of_residue * kStripTaps;
  const int32_t left = (problem.kernel[2] - 1 - residue) / shape.tap_step + 1 - before;
  const int32_t taps = left < 0 ? 0 : left < kStripTaps ? left : kStripTaps;
  const int32_t last = Direction<Pass>::kDescending && taps > 0 ? taps - 1 : 0;
  const int32_t w = residue + (before + last) * shape.tap_step;
  ptx::store_shared(smem.strip_place(index),
                    StripPlace{{Pass::axis_delta(problem, 0, d), Pass::axis_delta(problem, 1, h),
                                Pass::axis_delta(problem, 2, w)},
                               taps});
  ptx::store_shared(smem.strip_delta(index), tap_delta<Pass>(problem, d, h, w));
  ptx::store_shared(smem.strip_tap(index), line * problem.kernel[2] + w);
  ptx::store_shared(smem.strip_phase(index), Direction<Pass>::phase(problem, d, h, w));
}

// Half a warp a strip, which looks at every other run: a lane at each value they share.
template <class Pass, class Smem>
__device__ __forceinline__ void scan_words(const typename Pass::Params& params, const Shape& shape,
                                           int32_t runs, const Smem& smem) {
  constexpr int32_t kAtOnce = kThreads / kCountedShift / kStageStrips;
  const ConvProblem& problem = params.problem;
  const Axes& sizes = Pass::source_sizes(problem);
  const int32_t value = threadIdx.x % kCountedShift;
  const int32_t strip = threadIdx.x / kCountedShift % kStageStrips;
  const StripPlace place = ptx::load_shared(smem.strip_place(strip));
  const int64_t delta = ptx::load_shared(smem.strip_delta(strip));
  const int32_t phase = ptx::load_shared(smem.strip_phase(strip));
  for (int32_t run = threadIdx.x / kCountedShift / kStageStrips; run < runs; run += kAtOnce) {
    const RunPlace at = ptx::load_shared(smem.run_place(run));
    const bool met = place.taps > 0 && at.rows > 0 && value < at.rows + place.taps - 1 &&
                     ptx::load_shared(smem.run_phase(run)) == phase;
    const int32_t ahead = met ? value * shape.source_step : 0;
    const bool in_source = met && inside(sizes, 0, at.at[0] + place.at[0]) &&
                           inside(sizes, 1, at.at[1] + place.at[1]) &&
                           inside(sizes, 2, at.at[2] + place.at[2] + ahead);
    bool live = in_source;
    if (in_source && params.source_valid != nullptr) {
      const int64_t first = ptx::load_shared(smem.run_base(run)).valid + delta;
      live = any_valid(params.source_valid, first + ahead, params.source_windows);
    }
    const bool counts = live || (met && !in_source && problem.pad_is_valid);
    const int32_t shift = threadIdx.x % 32 - value;
    const uint32_t low = (1u << kCountedShift) - 1;
    const uint32_t all_live = __ballot_sync(~0u, live) >> shift & low;
    const uint32_t all_count = __ballot_sync(~0u, counts) >> shift & low;
    if (value == 0) ptx::store_shared(smem.word(strip, run), all_count << kCountedShift | all_live);
  }
}

}  // namespace maskconv::depthwise
