// Where nothing is masked the framework's convolution gives all outputs but those at a border, whose windows
// reach outside the image: these are finished afterwards.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/engine.h"
#include "cpu/scale.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kGrainValues = 1 << 14;

template <typename T>
struct Finish {
  const Border& border;
  const T* bias;  // or null
  bool fill_with_bias;
  T fill;

  // An output that the convolution computed as `value`, with the bias in it if that went inside.
  T operator()(T value, size_t i, int32_t k) const {
    const T b = bias ? bias[k] : T(0);
    const double factor = border.factors[i];
    if (std::isnan(factor)) return fill_with_bias ? b : fill;
    return T(factor) * (border.bias_inside ? value - b : value) + b;
  }
};

}  // namespace

bool has_holes(const ConvProblem& problem, const MaskView& mask) {
  if (mask.kind != MaskKind::kHard) return mask.kind == MaskKind::kSoft;  // whose values multiply
  const int64_t count = problem.mask_batch * problem.input_positions() * mask.channels;
  return count == 0 || std::memchr(mask.data, 0, count) != nullptr;
}

double interior_scale(const ConvProblem& problem, const MaskView& mask) {
  const double window = double(window_size(problem, mask));
  return scale_of(problem.normalization, window, window);
}

Border find_border(const ConvProblem& problem, const MaskView& mask, const std::vector<uint8_t>& valid,
                   const void* window_sum, bool scaled, const float* bias) {
  // The bias comes off again at the border, and what is left has its rounding error, as many times as it is
  // scaled.
  constexpr double kMostBiasInside = 4;
  const double interior = scaled ? interior_scale(problem, mask) : 1.0;
  const int32_t channels = mask.window_channels;
  const Scale<double> scale(problem.normalization, window_size(problem, mask), false, window_sum,
                            int64_t(valid.size()));
  Border border;
  double most = 1;
  for (size_t i = 0; i < valid.size(); i += channels) {  // without holes all channels have the same sums
    const double factor = valid[i] ? scale(int64_t(i)) / interior : std::nan("");
    if (factor == 1) continue;
    border.rows.push_back(int64_t(i) / channels);
    border.factors.push_back(factor);
    if (valid[i]) most = std::max(most, factor);
  }
  const bool finite =
      !bias || std::all_of(bias, bias + problem.filters, [](float b) { return std::isfinite(b); });
  border.bias_inside = most <= kMostBiasInside && finite;
  if (border.bias_inside || !bias) return border;
  border.rows.clear();
  border.factors.clear();
  for (size_t i = 0; i < valid.size(); i += channels) {
    border.rows.push_back(int64_t(i) / channels);
    border.factors.push_back(valid[i] ? scale(int64_t(i)) / interior : std::nan(""));
  }
  return border;
}

void finish_border(const Runtime& runtime, const ConvProblem& problem, const Border& border,
                   const float* bias, const ForwardOutput& out) {
  if (border.rows.empty() || problem.rows() == 0) return;
  const Finish<float> finish{border, bias, problem.fill_with_bias, float(problem.fill)};
  auto* y = static_cast<float*>(out.y);
  const int64_t positions = problem.output_positions(), filters = problem.filters;
  const int64_t repeats = problem.window_batch() > 1 ? 1 : problem.batch;
  const int64_t listed = int64_t(border.rows.size());
  if (out.strides.channel == 1) {
    runtime.parallel_for(0, listed * repeats, kGrainValues / filters + 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        float* row = y + (j / listed * positions + border.rows[j % listed]) * filters;
        for (int32_t k = 0; k < filters; ++k) row[k] = finish(row[k], j % listed, k);
      }
    });
    return;
  }
  runtime.parallel_for(
      0, problem.batch * filters, kGrainValues / listed + 1, [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; ++plane) {
          const int64_t n = plane / filters, from = repeats > 1 ? 0 : n * positions;
          const auto first = std::lower_bound(border.rows.begin(), border.rows.end(), from);
          const auto last = std::lower_bound(first, border.rows.end(), from + positions);
          for (auto row = first; row != last; ++row) {
            float& value = y[plane * positions + *row - from];
            value = finish(value, size_t(row - border.rows.begin()), int32_t(plane % filters));
          }
        }
      });
}

}  // namespace maskconv::cpu
