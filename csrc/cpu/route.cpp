#include "cpu/route.h"

#include "cpu/direct.h"
#include "cpu/weights.h"

namespace maskconv::cpu {

bool can_dense(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums) {
  return dtype == DType::kFloat32 && mask.kind == MaskKind::kNone && problem.rows() > 0 && !weight_sums;
}

Route expected_route(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums,
                     bool channels_last) {
  // Depthwise with so many taps, and channels last, tiles are as fast as the framework, and finish as they
  // go.
  constexpr int32_t kManyTaps = 49;
  if (prefers_direct(problem, dtype, mask)) return Route::kDirect;
  if (!can_dense(problem, dtype, mask, weight_sums)) return Route::kRows;
  return is_depthwise(problem) && problem.taps() >= kManyTaps && channels_last ? Route::kRows : Route::kDense;
}

}  // namespace maskconv::cpu
