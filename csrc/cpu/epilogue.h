// What follows the sums: scale, bias and fill.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/engine.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {

inline double scale_of(Normalization normalization, double window, double sum) {
  switch (normalization) {
    case Normalization::kRatio:
      return window / sum;
    case Normalization::kMean:
      return 1.0 / sum;
    case Normalization::kSqrt:
      return std::sqrt(window / sum);
    case Normalization::kNone:
      break;
  }
  return 1.0;
}

template <typename Acc>
class Epilogue {
 public:
  // `bias` is null or has a value a filter; `valid` and `window_sum` are what compute_window gave.
  Epilogue(const ConvProblem& problem, const MaskView& mask, const std::vector<uint8_t>& valid,
           const void* window_sum, const Acc* bias)
      : problem_(problem),
        valid_(valid),
        window_sum_(window_sum),
        soft_(mask.kind == MaskKind::kSoft),
        window_channels_(mask.window_channels),
        window_(double(window_size(problem, mask))),
        bias_(bias) {
    // Few different sums, many positions: a division a sum, not one a position.
    if (soft_ || window_ >= double(valid.size())) return;
    for (int64_t s = 0; s <= int64_t(window_); ++s) factors_.push_back(compute_factor(double(s)));
  }

  Acc bias(int32_t k) const { return bias_ ? bias_[k] : Acc(0); }
  Acc fill(int32_t k) const { return problem_.fill_with_bias ? bias(k) : Acc(problem_.fill); }

  // scale(q) of the i-th window sum; 1 where nothing was summed.
  Acc factor(int64_t i) const {
    if (soft_) return compute_factor(double(static_cast<const Acc*>(window_sum_)[i]));
    const int32_t s = static_cast<const int32_t*>(window_sum_)[i];
    return factors_.empty() ? compute_factor(double(s)) : factors_[s];
  }

  // Of (count, K) sums, in place; `rows` are output positions of the batch.
  void operator()(const int64_t* rows, int64_t count, Acc* sums) const {
    const int64_t positions = problem_.output_positions();
    const int32_t filters = problem_.filters / window_channels_;  // that a window sum serves
    for (int64_t i = 0; i < count; ++i) {
      const int64_t q = (problem_.window_batch() > 1 ? rows[i] : rows[i] % positions) * window_channels_;
      for (int32_t g = 0; g < window_channels_; ++g, sums += filters) {
        const int32_t first = g * filters;
        if (valid_[q + g]) {
          scale_and_add(sums, factor(q + g), bias_ ? bias_ + first : nullptr, filters);
        } else {
          for (int32_t k = 0; k < filters; ++k) sums[k] = fill(first + k);
        }
      }
    }
  }

 private:
  Acc compute_factor(double sum) const {
    return sum != 0 ? Acc(scale_of(problem_.normalization, window_, sum)) : Acc(1);
  }

  const ConvProblem& problem_;
  const std::vector<uint8_t>& valid_;
  const void* window_sum_;
  bool soft_;
  int32_t window_channels_;
  double window_;
  const Acc* bias_;
  std::vector<Acc> factors_;  // by window sum
};

}  // namespace maskconv::cpu
