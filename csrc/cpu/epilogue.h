// What follows the sums: scale, bias and fill.
#pragma once

#include <algorithm>
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
        window_channels_(mask.window_channels) {
    if (bias) {
      bias_.assign(bias, bias + problem.filters);
    } else {
      bias_.assign(problem.filters, Acc(0));
    }
  }

  Acc bias(int32_t k) const { return bias_[k]; }
  Acc fill(int32_t k) const { return problem_.fill_with_bias ? bias(k) : Acc(problem_.fill); }

  const WeightSums<Acc>& weight_sums() const { return weight_sums_; }

  // scale(q) of the i-th window sum.
  Acc factor(int64_t i) const { return scale_(i); }

  // to[i] = the outputs, K of them, of rows[i], whose sums are at sums + i * ld: there, or elsewhere.
  void operator()(const int64_t* rows, int64_t count, const Acc* sums, int64_t ld, Acc* const* to) const {
    constexpr int64_t kMost = 16;  // rows whose factors are looked up together
    const int64_t positions = problem_.output_positions();
    const bool alike = window_channels_ == 1 && !weight_sums_.given();  // all filters of a row
    Acc factors[kMost];
    for (int64_t first = 0; first < count; first += kMost) {
      const int64_t n = std::min(kMost, count - first);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t row = rows[first + i];
        const int64_t q = problem_.window_batch() > 1 || row < positions ? row : row % positions;
        if (alike) {
          factors[i] = factor(q);
        } else {
          finish_groups(row, q * window_channels_, sums + (first + i) * ld, to[first + i]);
        }
      }
      if (alike) finish_rows(sums + first * ld, ld, to + first, factors, bias_.data(), n, problem_.filters);
    }
  }

 private:
  // Of a row of which some groups, or filters, are valid.
  void finish_groups(int64_t row, int64_t q, const Acc* sums, Acc* to) const {
    const int32_t filters = problem_.filters / window_channels_;  // that a window sum serves
    for (int32_t g = 0; g < window_channels_; ++g, sums += filters, to += filters) {
      const int32_t first = g * filters;
      if (valid_[q + g] && weight_sums_.given()) {
        for (int32_t k = 0; k < filters; ++k)
          to[k] =
              weight_sums_.finished(sums[k], row, first + k, factor(q + g), bias(first + k), fill(first + k));
      } else if (valid_[q + g]) {
        const Acc f = factor(q + g);
        finish_rows(sums, 0, &to, &f, &bias_[first], 1, filters);
      } else {
        for (int32_t k = 0; k < filters; ++k) to[k] = fill(first + k);
      }
    }
  }

  const ConvProblem& problem_;
  const std::vector<uint8_t>& valid_;
  Scale<Acc> scale_;
  WeightSums<Acc> weight_sums_;
  int32_t window_channels_;
  std::vector<Acc> bias_;
};

}  // namespace maskconv::cpu
