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

  // Of `count` filters of one output row of the batch, in place, whose window is valid; bias may be null.
  void finish_row(Acc* sums, int64_t row, int32_t first_filter, int32_t count, Acc factor, const Acc* bias,
                  bool fill_with_bias, Acc fill) const {
    const Acc* weight_sum = data_ + row / positions_ * strides_.batch + row % positions_ * strides_.position +
                            first_filter * strides_.channel;
    for (int32_t k = 0; k < count; ++k) {
      const Acc added = bias ? bias[k] : Acc(0), divisor = weight_sum[k * strides_.channel];
      sums[k] = divisor == 0 ? (fill_with_bias ? added : fill) : scaled(sums[k], factor, divisor) + added;
    }
  }

  // Of a plane of positions, each with the factor and flag of its window.
  void finish_plane(Acc* sums, int64_t image, int32_t filter, const Acc* factor, const uint8_t* valid,
                    Acc bias, Acc fill) const {
    const Acc* weight_sum = data_ + image * strides_.batch + filter * strides_.channel;
    for (int64_t q = 0; q < positions_; ++q)
      sums[q] = valid[q] && weight_sum[q] != 0 ? scaled(sums[q], factor[q], weight_sum[q]) + bias : fill;
  }

 private:
  Acc scaled(Acc sum, Acc factor, Acc divisor) const { return divide_ ? sum / divisor : factor * sum; }

  const Acc* data_;
  Strides strides_;
  int64_t positions_;
  bool divide_;
};

}  // namespace maskconv::cpu
