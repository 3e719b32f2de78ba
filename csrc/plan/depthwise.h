// The depthwise kernels: one channel and one filter a group. Nothing is reused between channels, so the only
// thing to save is loads: a thread computes a run of neighbouring rows along W for a vector of channels, and
// a strip of taps moves over the same values for all of them.
//
// Neighbours must step over the source alike: rows of a run are row_step apart, taps of a strip tap_step, and
// either is source_step source positions. Then row r meets under tap u value r + u, whatever the stride and
// the dilation.
#pragma once

#include <string>
#include <type_traits>

#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"
#include "plan/grad_weight_params.h"
#include "plan/work.h"

namespace maskconv {
namespace depthwise {

template <class Integer>
constexpr Integer ceil_div(Integer value, Integer divisor) {
  return (value + divisor - 1) / divisor;
}

constexpr int32_t kRunRows = 7;  // the images of most networks are multiples of 7 wide
constexpr int32_t kStripTaps = 7;
constexpr int32_t kSpan = kRunRows + kStripTaps - 1;  // source positions a strip meets in a run
constexpr int32_t kThreads = 256;
constexpr int32_t kMaxVectors = 32;                // of channels a block: with so many a warp has one run
constexpr int32_t kMaxRuns = kThreads / kRunRows;  // a thread looks after each row of the block
constexpr int32_t kStageStrips = 8;                // whose weights are in shared memory at once
constexpr int32_t kBlocksOfMultiprocessor = 2;     // caps the registers at 128 a thread

// Channels of a thread: 16 bytes of accumulators, or one where channels do not divide or rows are unaligned.
constexpr int32_t widest_vector(DType dtype) { return kVectorBytes / accumulator_bytes(dtype); }

// How a line along W splits into runs and strips.
struct Slide {
  int32_t row_step = 1;
  int32_t tap_step = 1;
  int32_t source_step = 1;
  int32_t strips_of_residue = 1;  // taps of one residue modulo tap_step make so many strips
  int32_t strips_of_line = 1;
  int32_t strips = 1;         // of the whole kernel
  int32_t runs_of_class = 1;  // rows of one residue modulo row_step make so many runs
  int32_t runs_of_line = 1;
  int64_t runs = 0;  // of the whole result
};

// A block computes runs_of_block runs x vectors_of_block vectors of channels.
struct Shape : Slide {
  int32_t vector = 1;
  int32_t vectors_of_block = 1;
  int32_t runs_of_block = 1;
  int32_t column_blocks = 1;

  constexpr int64_t run_blocks() const { return ceil_div<int64_t>(runs, runs_of_block); }
  // Blocks that share runs run together, and meet in L2.
  constexpr int64_t blocks() const { return run_blocks() * column_blocks; }
};

template <class PassParams>
struct Params : PassParams {
  Shape shape;
};

// Byte offsets of what a block keeps in shared memory (device/depthwise_runs.cuh says what it is).
struct Layout {
  int32_t run_base = 0;
  int32_t run_place = 0;
  int32_t run_result = 0;
  int32_t run_window = 0;
  int32_t run_phase = 0;
  int32_t strip_delta = 0;
  int32_t strip_place = 0;
  int32_t strip_tap = 0;
  int32_t strip_phase = 0;
  int32_t words = 0;
  int32_t row_result = 0;
  int32_t lines = 0;
  int32_t total = 0;
};

// Weights of a tap, and 16 or 32 bytes more, so that 8 taps of 4 channels are stored to 32 different banks.
constexpr int32_t kLinePadding = 4;
constexpr int32_t line_elements(int32_t vector) {
  const int32_t channels = kMaxVectors * vector;
  return channels + kLinePadding;
}

constexpr Layout layout(DType dtype, int32_t vector) {
  Layout at;
  at.run_base = 0;
  at.run_place = at.run_base + kMaxRuns * 16;
  at.run_result = at.run_place + kMaxRuns * 16;
  at.run_window = at.run_result + kMaxRuns * 8;
  at.run_phase = at.run_window + kMaxRuns * 8;
  at.strip_place = at.run_phase + kMaxRuns * 4;
  at.strip_delta = at.strip_place + kStageStrips * 16;
  at.strip_tap = at.strip_delta + kStageStrips * 8;
  at.strip_phase = at.strip_tap + kStageStrips * 4;
  at.words = at.strip_phase + kStageStrips * 4;
  at.row_result = at.words + kStageStrips * kMaxRuns * 4;
  at.lines = at.row_result + kMaxRuns * kRunRows * kRowResultBytes;
  at.total = at.lines + kStageStrips * kStripTaps * line_elements(vector) * accumulator_bytes(dtype);
  return at;
}
static_assert(kMaxRuns % 4 == 0, "16-byte records stay aligned");

}  // namespace depthwise

// Empty if the depthwise kernels take the problem, else why not, as the end of a sentence.
std::string why_not_depthwise(const ConvProblem& problem);

// Of any of the three passes: each moves the input and the output, or their gradients, once.
Work depthwise_work(const ConvProblem& problem, DType dtype);

namespace depthwise {

// Of the forward; and of grad_weight, whose rows, source and masks are the same.
void set_pitches(GemmParams& params);
Shape forward_shape(const ConvProblem& problem, DType dtype, bool aligned);

}  // namespace depthwise

depthwise::Params<ForwardParams> make_depthwise_params(const ForwardArguments& arguments);
depthwise::Params<GradInputParams> make_depthwise_params(const GradInputArguments& arguments);

}  // namespace maskconv
