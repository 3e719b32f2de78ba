// What follows the sums: scale, bias and fill.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/engine.h"
#include "cpu/scale.h"
#include "cpu/vector_ops.h"
#include "cpu/weight_sum.h"

namespace maskconv::cpu {

template <typename Acc>
class Epilogue {
 public:
  // `bias` is null or has a value a filter; `valid` and what is in `out` are what compute_window gave.
  Epilogue(const ConvProblem& problem, const MaskView& mask, const std::vector<uint8_t>& valid,
           const ForwardOutput& out, const Acc* bias)
      : problem_(problem),
        valid_(valid),
        scale_(problem.normalization, window_size(problem, mask), mask.kind == MaskKind::kSoft,
               out.window_sum, int64_t(valid.size())),
        weight_sums_(problem, out),
        window_channels_(mask.window_channels),
        bias_(bias) {}

  Acc bias(int32_t k) const { return bias_ ? bias_[k] : Acc(0); }
  Acc fill(int32_t k) const { return problem_.fill_with_bias ? bias(k) : Acc(problem_.fill); }

  const WeightSums<Acc>& weight_sums() const { return weight_sums_; }

  // scale(q) of the i-th window sum.
  Acc factor(int64_t i) const { return scale_(i); }

  // Of (count, K) sums, in place; `rows` are output positions of the batch.
  void operator()(const int64_t* rows, int64_t count, Acc* sums) const {
    const int64_t positions = problem_.output_positions();
    const int32_t filters = problem_.filters / window_channels_;  // that a window sum serves
    for (int64_t i = 0; i < count; ++i) {
      const int64_t q = (problem_.window_batch() > 1 ? rows[i] : rows[i] % positions) * window_channels_;
      for (int32_t g = 0; g < window_channels_; ++g, sums += filters) {
        const int32_t first = g * filters;
        if (valid_[q + g] && weight_sums_.given()) {
          weight_sums_.finish_row(sums, rows[i], first, filters, factor(q + g),
                                  bias_ ? bias_ + first : nullptr, problem_.fill_with_bias,
                                  Acc(problem_.fill));
        } else if (valid_[q + g]) {
          scale_and_add(sums, factor(q + g), bias_ ? bias_ + first : nullptr, filters);
        } else {
          for (int32_t k = 0; k < filters; ++k) sums[k] = fill(first + k);
        }
      }
    }
  }

 private:
  const ConvProblem& problem_;
  const std::vector<uint8_t>& valid_;
  Scale<Acc> scale_;
  WeightSums<Acc> weight_sums_;
  int32_t window_channels_;
  const Acc* bias_;
};

}  // namespace maskconv::cpu
