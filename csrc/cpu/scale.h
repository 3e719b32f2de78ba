// scale(q), from window sums.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "plan/conv_problem.h"

namespace maskconv::cpu {

inline double scale_of(Normalization normalization, double window, double sum) {
  switch (normalization) {
    case Normalization::kRatio:
      return window / sum;
    case Normalization::kMean:
      return 1.0 / sum;
    case Normalization::kSqrt:
      return std::sqrt(window / sum);
    case Normalization::kWeight:  // for each filter: cpu/weight_sum.h
    case Normalization::kNone:
      break;
  }
  return 1.0;
}

// Of `count` window sums: int32, or Acc where they are soft.
template <typename Acc>
class Scale {
 public:
  Scale(Normalization normalization, int64_t window_size, bool soft, const void* window_sum, int64_t count)
      : normalization_(normalization), window_(double(window_size)), soft_(soft), window_sum_(window_sum) {
    // Few different sums, many positions: a division a sum, not one a position.
    if (soft || window_size >= count) return;
    for (int64_t s = 0; s <= window_size; ++s) table_.push_back(compute(double(s)));
  }

  // Of the i-th sum; 1 where nothing was summed.
  Acc operator()(int64_t i) const {
    if (soft_) return compute(double(static_cast<const Acc*>(window_sum_)[i]));
    const int32_t s = static_cast<const int32_t*>(window_sum_)[i];
    return static_cast<uint32_t>(s) < table_.size() ? table_[s] : compute(double(s));
  }

 private:
  Acc compute(double sum) const { return sum != 0 ? Acc(scale_of(normalization_, window_, sum)) : Acc(1); }

  Normalization normalization_;
  double window_;
  bool soft_;
  const void* window_sum_;
  std::vector<Acc> table_;  // by window sum
};

}  // namespace maskconv::cpu
