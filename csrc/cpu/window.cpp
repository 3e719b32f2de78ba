#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "cpu/engine.h"
#include "cpu/taps.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kGrain = 1 << 13;  // values a thread takes at a time

// How many channels of a window channel's group read a mask channel.
struct Term {
  int32_t window_channel, mask_channel, count;
};

std::vector<Term> count_channels(const ConvProblem& problem, const MaskView& mask) {
  const int32_t per_group = problem.channels_per_group();
  std::vector<Term> terms;
  for (const MaskPart& part : mask.parts)
    for (int32_t g = 0; g < mask.window_channels; ++g) {
      const int32_t first = std::max(part.first_channel, g * per_group);
      const int32_t last = std::min(part.first_channel + part.channels, (g + 1) * per_group);
      if (first < last) terms.push_back({g, part.mask_channel, last - first});
    }
  return terms;
}

// The mask summed over the channels that each window channel covers: (batch, D, H, W, Gw).
template <typename Sum, typename M>
std::vector<Sum> sum_channels(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask) {
  const int64_t positions = problem.window_batch() * problem.input_positions();
  const int32_t window_channels = mask.window_channels;
  if (mask.kind == MaskKind::kNone) return std::vector<Sum>(positions * window_channels, Sum(1));
  const auto value = [](M m) { return std::is_same_v<M, uint8_t> ? Sum(m != 0) : Sum(m); };
  const M* data = static_cast<const M*>(mask.data);
  std::vector<Sum> sums(positions * window_channels);
  if (sums.empty()) return sums;
  const std::vector<Term> terms = count_channels(problem, mask);
  runtime.parallel_for(0, positions, kGrain, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      if (mask.shared()) {
        std::fill_n(&sums[p * window_channels], window_channels, value(data[p * mask.channels]));
      } else {
        for (const Term& term : terms)
          sums[p * window_channels + term.window_channel] +=
              Sum(term.count) * value(data[p * mask.channels + term.mask_channel]);
      }
    }
  });
  return sums;
}

// Sums windows along axis a: from is (outer, source extent, inner), the result (outer, row extent, inner).
// What lies outside counts `outside`.
template <typename Sum>
std::vector<Sum> sum_axis(const Runtime& runtime, const std::vector<Sum>& from, const ConvProblem& problem,
                          int a, int64_t inner, Sum outside) {
  const int64_t rows = problem.output[a], sources = problem.input[a], stride = problem.stride[a];
  const int64_t outer = sources * inner == 0 ? 0 : int64_t(from.size()) / (sources * inner);
  std::vector<Sum> to(outer * rows * inner);
  if (to.empty()) return to;
  const int64_t grain = std::max<int64_t>(1, kGrain / (rows * inner));
  runtime.parallel_for(0, outer, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Sum* line = &from[i * sources * inner];
      Sum* sums = &to[i * rows * inner];
      for (int64_t t = 0; t < problem.kernel[a]; ++t) {
        // Rows [first, last) read inside the image, at row * stride + offset.
        const int64_t offset = t * problem.dilation[a] - problem.padding[a];
        const int64_t first = std::min(rows, offset < 0 ? (-offset + stride - 1) / stride : 0);
        const int64_t last =
            std::clamp(offset < sources ? (sources - 1 - offset) / stride + 1 : 0, first, rows);
        for (int64_t j = 0; j < first * inner; ++j) sums[j] += outside;
        for (int64_t j = last * inner; j < rows * inner; ++j) sums[j] += outside;
        if (stride == 1) {
          accumulate(sums + first * inner, line + (first + offset) * inner, (last - first) * inner);
        } else {
          for (int64_t r = first; r < last; ++r)
            for (int64_t j = 0; j < inner; ++j)
              sums[r * inner + j] += line[(r * stride + offset) * inner + j];
        }
      }
    }
  });
  return to;
}

// The window sum is separable: one pass an axis.
template <typename Sum>
std::vector<Sum> sum_windows(const Runtime& runtime, const ConvProblem& problem, std::vector<Sum> sums,
                             int32_t window_channels, int64_t channels_covered) {
  int64_t inner = problem.input_positions() * window_channels;
  Sum outside = problem.pad_is_valid ? Sum(channels_covered) : Sum(0);
  for (int a = 0; a < kAxes; ++a) {
    inner /= problem.input[a];
    const bool identity = problem.kernel[a] == 1 && problem.stride[a] == 1 && problem.padding[a] == 0 &&
                          problem.output[a] == problem.input[a];
    if (!identity) sums = sum_axis(runtime, sums, problem, a, inner, outside);
    outside *= Sum(problem.kernel[a]);
  }
  return sums;
}

// Whether there is anything at the window's centre, per window sum.
template <typename Sum>
std::vector<uint8_t> valid_centers(const ConvProblem& problem, const TapTable& table,
                                   const std::vector<Sum>& mask, int32_t window_channels) {
  std::vector<uint8_t> valid;
  valid.reserve(problem.window_batch() * problem.output_positions() * window_channels);
  const auto at = [&](int a, int64_t q) -> int64_t {
    return table.axis(a)[q * problem.kernel[a] + problem.center(a)];
  };
  for (int64_t n = 0; n < problem.window_batch(); ++n)
    for (int64_t d = 0; d < problem.output[0]; ++d)
      for (int64_t h = 0; h < problem.output[1]; ++h)
        for (int64_t w = 0; w < problem.output[2]; ++w) {
          const int64_t pd = at(0, d), ph = at(1, h), pw = at(2, w);
          const bool inside = pd >= 0 && ph >= 0 && pw >= 0;
          const int64_t p = ((n * problem.input[0] + pd) * problem.input[1] + ph) * problem.input[2] + pw;
          for (int32_t g = 0; g < window_channels; ++g)
            valid.push_back(inside ? mask[p * window_channels + g] != 0 : problem.pad_is_valid);
        }
  return valid;
}

// valid(q) by every rule but the centre's.
template <typename Sum>
std::vector<uint8_t> valid_sums(const ConvProblem& problem, double window, const std::vector<Sum>& sums) {
  std::vector<uint8_t> valid(sums.size());
  const double required = problem.mask_update == MaskUpdate::kAll         ? window
                          : problem.mask_update == MaskUpdate::kThreshold ? problem.threshold * window
                                                                          : 0.0;
  if constexpr (std::is_integral_v<Sum>) {
    const Sum minimum = std::max(Sum(1), Sum(std::ceil(required)));
    for (size_t i = 0; i < sums.size(); ++i) valid[i] = sums[i] >= minimum;
  } else if (problem.mask_update == MaskUpdate::kAll) {
    for (size_t i = 0; i < sums.size(); ++i) valid[i] = double(sums[i]) == window;
  } else if (problem.mask_update == MaskUpdate::kThreshold) {
    for (size_t i = 0; i < sums.size(); ++i) valid[i] = double(sums[i]) >= required;
  } else {
    for (size_t i = 0; i < sums.size(); ++i) valid[i] = sums[i] > 0;
  }
  return valid;
}

template <typename Out, typename Sum>
void write_out_mask(const ConvProblem& problem, double window, const std::vector<uint8_t>& valid,
                    const std::vector<Sum>& sums, void* out_mask) {
  Out* to = static_cast<Out*>(out_mask);
  if (problem.mask_update == MaskUpdate::kFraction) {
    for (size_t i = 0; i < valid.size(); ++i) to[i] = Out(double(sums[i]) / window);
  } else {
    std::copy(valid.begin(), valid.end(), to);
  }
}

template <typename Sum, typename M>
std::vector<uint8_t> compute(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask,
                             const ForwardOutput& out) {
  const TapTable table = TapTable::to_input(problem);
  const int64_t covered = mask.shared() ? 1 : problem.channels_per_group();
  const double window = double(window_size(problem, mask));
  std::vector<Sum> sums = sum_channels<Sum, M>(runtime, problem, mask);
  std::vector<uint8_t> valid;
  if (problem.mask_update == MaskUpdate::kCenter)
    valid = valid_centers(problem, table, sums, mask.window_channels);
  sums = sum_windows(runtime, problem, std::move(sums), mask.window_channels, covered);
  if (problem.mask_update != MaskUpdate::kCenter) valid = valid_sums(problem, window, sums);
  std::copy(sums.begin(), sums.end(), static_cast<Sum*>(out.window_sum));
  switch (out.out_mask_element) {
    case MaskElement::kUInt8:
      write_out_mask<uint8_t>(problem, window, valid, sums, out.out_mask);
      break;
    case MaskElement::kFloat32:
      write_out_mask<float>(problem, window, valid, sums, out.out_mask);
      break;
    case MaskElement::kFloat64:
      write_out_mask<double>(problem, window, valid, sums, out.out_mask);
      break;
  }
  return valid;
}

}  // namespace

std::vector<uint8_t> compute_window(const Runtime& runtime, const ConvProblem& problem, DType dtype,
                                    const MaskView& mask, const ForwardOutput& out) {
  if (mask.kind != MaskKind::kNone && problem.mask_batch == 0) return {};
  if (mask.kind != MaskKind::kSoft) return compute<int32_t, uint8_t>(runtime, problem, mask, out);
  if (dtype == DType::kFloat64) return compute<double, double>(runtime, problem, mask, out);
  return compute<float, float>(runtime, problem, mask, out);
}

}  // namespace maskconv::cpu
