// The last step of filters that have sums of weights (ForwardOutput::weight_sum): those divide the sums of
// Normalization::kWeight, and where one is 0 the output of its filter is not valid.
#pragma once

#include <cstdint>

#include "cpu/engine.h"

namespace maskconv::cpu {

template <typename Acc>
class WeightSums {
 public:
  WeightSums(const ConvProblem& problem, const ForwardOutput& out)
      : data_(static_cast<const Acc*>(out.weight_sum)),
        strides_(out.strides),
        positions_(problem.output_positions()),
        divide_(problem.normalization == Normalization::kWeight) {
    if (problem.window_batch() == 1) strides_.batch = 0;
  }

  bool given() const { return data_ != nullptr; }

  // Of one filter of an output row of the batch, whose window is valid and has this factor.
  Acc finished(Acc sum, int64_t row, int32_t filter, Acc factor, Acc bias, Acc fill) const {
    const Acc weight_sum = data_[row / positions_ * strides_.batch + row % positions_ * strides_.position +
                                 filter * strides_.channel];
    if (weight_sum == 0) return fill;
    return (divide_ ? sum / weight_sum : factor * sum) + bias;
  }

 private:
  const Acc* data_;
  Strides strides_;
  int64_t positions_;
  bool divide_;
};

}  // namespace maskconv::cpu
