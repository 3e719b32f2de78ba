#include "cpu/route.h"

#include "cpu/direct.h"
#include "cpu/few_rows.h"
#include "cpu/tile.h"
#include "cpu/weights.h"

namespace maskconv::cpu {

bool can_dense(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums) {
  return dtype == DType::kFloat32 && mask.kind == MaskKind::kNone && problem.rows() > 0 && !weight_sums;
}

namespace {

// In vectors of 32 bytes the framework convolves wide images with large kernels faster as planes than with
// channels last, as the input lies here; tiles are faster than the latter.
bool is_slow_with_channels_last(const ConvProblem& problem) {
  constexpr int32_t kManyTaps = 25, kWide = 64, kBytes = 32;
  return tile_kernels<float>().vector_bytes == kBytes && problem.kernel[1] * problem.kernel[2] >= kManyTaps &&
         problem.channels_per_group() >= kWide && problem.filters_per_group() >= kWide;
}

// Where the framework's convolution would serve as well.
bool prefers_rows(const ConvProblem& problem, bool channels_last) {
  // Depthwise with so many taps, and channels last, tiles are as fast, and finish as they go.
  constexpr int32_t kManyTaps = 49;
  if (is_depthwise(problem)) return problem.taps() >= kManyTaps && channels_last;
  return problem.rows() <= kFewRows || (channels_last && is_slow_with_channels_last(problem));
}

}  // namespace

Route expected_route(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums,
                     bool channels_last) {
  if (prefers_direct(problem, dtype, mask)) return Route::kDirect;
  if (!can_dense(problem, dtype, mask, weight_sums)) return Route::kRows;
  return prefers_rows(problem, channels_last) ? Route::kRows : Route::kDense;
}

}  // namespace maskconv::cpu
