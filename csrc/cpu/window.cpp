#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "cpu/engine.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kGrain = 1 << 13;  // values a thread takes at a time

// The position that output q reads at a tap along an axis; -1 outside of the image.
int64_t source(const ConvProblem& problem, int axis, int64_t q, int64_t tap) {
  const int64_t p = q * problem.stride[axis] + tap * problem.dilation[axis] - problem.padding[axis];
  return p < problem.input[axis] ? std::max<int64_t>(p, -1) : -1;
}

// How many taps of output q lie inside of the image along an axis.
int32_t taps_inside(const ConvProblem& problem, int axis, int64_t q) {
  const int64_t first = q * problem.stride[axis] - problem.padding[axis], step = problem.dilation[axis];
  const auto before = [&](int64_t position) {  // taps that lie before a position
    return std::clamp<int64_t>((position - first + step - 1) / step, 0, problem.kernel[axis]);
  };
  return int32_t(before(problem.input[axis]) - (first < 0 ? before(0) : 0));
}

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

// What the positions of a mask count: 1 where a hard mask is not 0, ...
struct Valid {
  const uint8_t* mask;

  int32_t operator()(int64_t i) const { return mask[i] != 0; }
  void add(int32_t* sums, int64_t i, int64_t n) const { accumulate_valid(sums, mask + i, n); }
};

// ... or what is written there.
template <typename Sum>
struct Counted {
  const Sum* counts;

  Sum operator()(int64_t i) const { return counts[i]; }
  void add(Sum* sums, int64_t i, int64_t n) const { accumulate(sums, counts + i, n); }
};

// Nothing is masked: windows only end at borders. What each row counts along the last axis is the same on
// every line.
class Everything {
 public:
  Everything(const ConvProblem& problem, int32_t covered) : covered_(covered), along_(problem.output[2]) {
    for (int32_t w = 0; w < problem.output[2]; ++w)
      along_[w] = covered * (problem.pad_is_valid ? problem.kernel[2] : taps_inside(problem, 2, w));
  }

  int32_t operator()(int64_t) const { return covered_; }
  const std::vector<int32_t>& along() const { return along_; }

 private:
  int32_t covered_;
  std::vector<int32_t> along_;
};

// The sums of one line of outputs after the other: of all lines of the mask that its windows reach first,
// then along it. Value(i) is what position i of the mask, window channels innermost, counts.
template <typename Sum, typename Out, typename Value>
class LineWindows {
 public:
  LineWindows(const ConvProblem& problem, const MaskView& mask, const Value& value)
      : problem_(problem),
        value_(value),
        channels_(mask.window_channels),
        covered_(Sum(mask.shared() ? 1 : problem.channels_per_group())),
        window_(double(window_size(problem, mask))) {}

  void operator()(int64_t line, std::vector<Sum>& columns, uint8_t* valid, Sum* sums, Out* out_mask) const {
    const int64_t h = line % problem_.output[1], d = line / problem_.output[1] % problem_.output[0];
    const int64_t image =
        line / (int64_t{problem_.output[0]} * problem_.output[1]) * problem_.input_positions();
    if constexpr (std::is_same_v<Value, Everything>) {
      repeat_along(int32_t(d), int32_t(h), sums);
    } else {
      add_columns(image, int32_t(d), int32_t(h), columns);
      add_along(columns, sums);
    }
    if (problem_.mask_update == MaskUpdate::kCenter) {
      write_centers(image, int32_t(d), int32_t(h), valid);
    } else {
      write_valid(sums, valid);
    }
    write_out_mask(sums, valid, out_mask);
  }

 private:
  void repeat_along(int32_t d, int32_t h, Sum* sums) const {
    const int32_t lines = problem_.pad_is_valid ? problem_.kernel[0] * problem_.kernel[1]
                                                : taps_inside(problem_, 0, d) * taps_inside(problem_, 1, h);
    for (const int32_t count : value_.along()) sums = std::fill_n(sums, channels_, Sum(lines * count));
  }

  void add_along(const std::vector<Sum>& columns, Sum* sums) const {
    const int64_t width = problem_.output[2], stride = problem_.stride[2] * channels_;
    const int64_t tap = problem_.dilation[2] * channels_;
    if (stride == channels_) {
      std::fill_n(sums, width * channels_, Sum(0));
      for (int64_t t = 0; t < problem_.kernel[2]; ++t)
        accumulate(sums, columns.data() + t * tap, width * channels_);
    } else {
      for (int64_t i = 0; i < width * channels_; ++i) {
        const Sum* from = columns.data() + i / channels_ * stride + i % channels_;
        Sum sum = 0;
        for (int64_t t = 0; t < problem_.kernel[2]; ++t) sum += from[t * tap];
        sums[i] = sum;
      }
    }
  }

  // Over the depth and height of the windows; from where the first window begins to where the last one ends.
  void add_columns(int64_t image, int32_t d, int32_t h, std::vector<Sum>& columns) const {
    const int64_t before = problem_.padding[2];
    const int64_t reach = int64_t{problem_.output[2] - 1} * problem_.stride[2] +
                          int64_t{problem_.kernel[2] - 1} * problem_.dilation[2] + 1;
    const int64_t lines = int64_t{problem_.kernel[0]} * problem_.kernel[1];
    columns.assign(reach * channels_, problem_.pad_is_valid ? Sum(lines) * covered_ : Sum(0));
    // Positions [first, end) of the mask are in reach.
    const int64_t first = std::max<int64_t>(0, -before),
                  end = std::min<int64_t>(problem_.input[2], reach - before);
    if (first >= end) return;
    Sum* inside = columns.data() + (before + first) * channels_;
    const int64_t count = (end - first) * channels_;
    std::fill_n(inside, count, Sum(0));
    for (int32_t td = 0; td < problem_.kernel[0]; ++td)
      for (int32_t th = 0; th < problem_.kernel[1]; ++th) {
        const int64_t md = source(problem_, 0, d, td), mh = source(problem_, 1, h, th);
        if (md >= 0 && mh >= 0) {
          const int64_t from =
              (image + (md * problem_.input[1] + mh) * problem_.input[2] + first) * channels_;
          value_.add(inside, from, count);
        } else if (problem_.pad_is_valid) {
          for (int64_t i = 0; i < count; ++i) inside[i] += covered_;
        }
      }
  }

  void write_centers(int64_t image, int32_t d, int32_t h, uint8_t* valid) const {
    const int64_t md = source(problem_, 0, d, problem_.center(0)),
                  mh = source(problem_, 1, h, problem_.center(1));
    for (int32_t w = 0; w < problem_.output[2]; ++w) {
      const int64_t mw = source(problem_, 2, w, problem_.center(2));
      const bool inside = md >= 0 && mh >= 0 && mw >= 0;
      const int64_t from = (image + (md * problem_.input[1] + mh) * problem_.input[2] + mw) * channels_;
      for (int64_t g = 0; g < channels_; ++g)
        *valid++ = inside ? value_(from + g) != Sum(0) : problem_.pad_is_valid;
    }
  }

  // By every rule but the centre's.
  void write_valid(const Sum* sums, uint8_t* valid) const {
    const int64_t count = int64_t{problem_.output[2]} * channels_;
    const double required = problem_.mask_update == MaskUpdate::kAll         ? window_
                            : problem_.mask_update == MaskUpdate::kThreshold ? problem_.threshold * window_
                                                                             : 0.0;
    if constexpr (std::is_integral_v<Sum>) {
      const Sum minimum = std::max(Sum(1), Sum(std::ceil(required)));
      for (int64_t i = 0; i < count; ++i) valid[i] = sums[i] >= minimum;
    } else if (problem_.mask_update == MaskUpdate::kAll) {
      for (int64_t i = 0; i < count; ++i) valid[i] = double(sums[i]) == window_;
    } else if (problem_.mask_update == MaskUpdate::kThreshold) {
      for (int64_t i = 0; i < count; ++i) valid[i] = double(sums[i]) >= required;
    } else {
      for (int64_t i = 0; i < count; ++i) valid[i] = sums[i] > 0;
    }
  }

  void write_out_mask(const Sum* sums, const uint8_t* valid, Out* out_mask) const {
    const int64_t count = int64_t{problem_.output[2]} * channels_;
    if (problem_.mask_update == MaskUpdate::kFraction) {
      for (int64_t i = 0; i < count; ++i) out_mask[i] = Out(double(sums[i]) / window_);
    } else {
      for (int64_t i = 0; i < count; ++i) out_mask[i] = Out(valid[i]);
    }
  }

  const ConvProblem& problem_;
  const Value& value_;
  int64_t channels_;
  Sum covered_;
  double window_;
};

template <typename Sum, typename Out, typename Value>
std::vector<uint8_t> compute_lines(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask,
                                   const ForwardOutput& out, const Value& value) {
  const LineWindows<Sum, Out, Value> windows(problem, mask, value);
  const int64_t lines = problem.window_batch() * problem.output[0] * problem.output[1];
  const int64_t width = int64_t{problem.output[2]} * mask.window_channels;
  std::vector<uint8_t> valid(lines * width);
  runtime.parallel_for(0, lines, kGrain / std::max<int64_t>(1, width) + 1, [&](int64_t first, int64_t last) {
    std::vector<Sum> columns;
    for (int64_t line = first; line < last; ++line) {
      const int64_t at = line * width;
      windows(line, columns, valid.data() + at, static_cast<Sum*>(out.window_sum) + at,
              static_cast<Out*>(out.out_mask) + at);
    }
  });
  return valid;
}

template <typename Sum, typename M, typename Out>
std::vector<uint8_t> compute_as(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask,
                                const ForwardOutput& out) {
  if constexpr (std::is_same_v<M, uint8_t>) {
    if (mask.kind == MaskKind::kNone) {
      const int32_t covered = mask.shared() ? 1 : problem.channels_per_group();
      return compute_lines<Sum, Out>(runtime, problem, mask, out, Everything(problem, covered));
    }
  }
  if (mask.shared() && mask.channels == 1 && mask.window_channels == 1) {
    const auto* data = static_cast<const M*>(mask.data);
    if constexpr (std::is_same_v<M, uint8_t>) {
      return compute_lines<Sum, Out>(runtime, problem, mask, out, Valid{data});
    } else {
      return compute_lines<Sum, Out>(runtime, problem, mask, out, Counted<Sum>{data});
    }
  }
  const std::vector<Sum> sums = sum_channels<Sum, M>(runtime, problem, mask);
  return compute_lines<Sum, Out>(runtime, problem, mask, out, Counted<Sum>{sums.data()});
}

template <typename Sum, typename M>
std::vector<uint8_t> compute(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask,
                             const ForwardOutput& out) {
  switch (out.out_mask_element) {
    case MaskElement::kUInt8:
      return compute_as<Sum, M, uint8_t>(runtime, problem, mask, out);
    case MaskElement::kFloat32:
      return compute_as<Sum, M, float>(runtime, problem, mask, out);
    case MaskElement::kFloat64:
      break;
  }
  return compute_as<Sum, M, double>(runtime, problem, mask, out);
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
