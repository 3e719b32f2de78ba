// scale(q), from a window sum.
#pragma once

#include <cmath>

#include "device/ptx.cuh"
#include "plan/conv_problem.h"

namespace maskconv {

// Not applied where nothing was summed: a ratio to zero is no number.
template <class Acc, class Sum>
__device__ __forceinline__ Acc window_scale(Normalization normalization, int32_t taps, Sum sum) {
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

}  // namespace maskconv
