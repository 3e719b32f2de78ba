// scale(q), from a window sum.
#pragma once

#include <cmath>

#include "device/ptx.cuh"
#include "plan/conv_problem.h"
#include "plan/windows.h"

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

// Of the index-th window.
template <class Acc>
__device__ __forceinline__ Acc window_scale(Normalization normalization, const Windows& windows,
                                            int64_t index) {
  if (windows.soft) {
    const Acc sum = ptx::load_global(static_cast<const Acc*>(windows.sum) + index);
    return window_scale<Acc>(normalization, windows.size, sum);
  }
  const int32_t sum = ptx::load_global(static_cast<const int32_t*>(windows.sum) + index);
  return window_scale<Acc>(normalization, windows.size, sum);
}

}  // namespace maskconv
