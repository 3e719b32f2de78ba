#include "cpu/direct.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "cpu/clones.h"
#include "cpu/epilogue.h"
#include "cpu/rows.h"
#include "cpu/tile.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

// Where it was faster than the framework's convolution, on a core with AVX-512: of float64 with up to so many
// channels a group, for which that copies every window; of float32 with few channels, and of depthwise
// sequences.
constexpr int32_t kFewChannelsDouble = 8;
constexpr int32_t kFewChannels = 4, kFewFilters = 2;
constexpr int32_t kFewDepthwise = 4;         // no vector's worth for the tiles, which lie along the channels
constexpr int64_t kGrainProducts = 1 << 17;  // that are worth a thread

// Lines of (x where m != 0, else 0) * m, with zeros on either side, as many as taps and whole vectors reach.
template <typename T>
class PaddedLines {
 public:
  PaddedLines(const ConvProblem& problem, const MaskView& mask, const T* x)
      : problem_(problem), mask_(mask), x_(x), lines_(int64_t{problem.input[0]} * problem.input[1]) {
    constexpr int64_t kOverread = kLineOverread / int64_t(sizeof(T));
    const int64_t reach =
        problem.output[2] + int64_t{problem.kernel[2] - 1} * problem.dilation[2] + kOverread;
    pitch_ = std::max<int64_t>(problem.padding[2] + problem.input[2], reach);
  }

  int64_t pitch() const { return pitch_; }

  // Those from `begin` to `end` of (N, C, D, H), one after the other.
  void write(int64_t begin, int64_t end, T* to) const {
    const int64_t before = problem_.padding[2], length = problem_.input[2];
    for (int64_t i = begin; i < end; ++i, to += pitch_) {
      std::fill_n(to, before, T(0));
      select(i, to + before);
      std::fill(to + before + length, to + pitch_, T(0));
    }
  }

 private:
  void select(int64_t line, T* to) const {
    const int64_t length = problem_.input[2];
    const int64_t image = problem_.mask_batch > 1 ? line / lines_ / problem_.channels : 0;
    const int64_t at = (image * lines_ + line % lines_) * length;
    std::copy_n(x_ + line * length, length, to);
    if (mask_.kind == MaskKind::kHard) apply_mask(to, static_cast<const uint8_t*>(mask_.data) + at, length);
    if (mask_.kind == MaskKind::kSoft) apply_mask(to, static_cast<const T*>(mask_.data) + at, length);
  }

  const ConvProblem& problem_;
  const MaskView& mask_;
  const T* x_;
  int64_t lines_, pitch_;
};

// What finishes an output whatever its filter. Flags are as wide as what they choose: vectors of them match.
template <typename T>
struct Finish {
  using Flag = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  std::vector<T> factors;
  std::vector<Flag> valid;
};

template <typename T>
MASKCONV_INLINE void finish_values_to(T* sums, const T* factors, const typename Finish<T>::Flag* valid,
                                      T bias, T fill, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T finished = factors[i] * sums[i] + bias;
    sums[i] = valid[i] ? finished : fill;
  }
}

MASKCONV_CLONES void finish_values(float* sums, const float* factors, const int32_t* valid, float bias,
                                   float fill, int64_t n) {
  finish_values_to(sums, factors, valid, bias, fill, n);
}
MASKCONV_CLONES void finish_values(double* sums, const double* factors, const int64_t* valid, double bias,
                                   double fill, int64_t n) {
  finish_values_to(sums, factors, valid, bias, fill, n);
}

// Outputs that are computed together; nothing of a line without a valid one.
struct Span {
  int64_t first, end;
};

// Of a line of windows. Between spans are more outputs, none of them valid, than a vector or two hold.
template <typename Flag>
void find_spans(const Flag* valid, int64_t length, std::vector<Span>& spans) {
  constexpr int64_t kWorthLeaving = 16;
  spans.clear();
  for (int64_t q = 0; q < length; ++q) {
    if (!valid[q]) continue;
    if (spans.empty() || q - spans.back().end > kWorthLeaving) spans.push_back({q, q});
    while (q < length && valid[q]) ++q;
    spans.back().end = q;
  }
}

// Scale, bias and fill of the sums of an output line of one filter, in place. `row` is the first of its
// outputs, and `window` of its windows; what is between spans was not computed. `finish` is of all windows:
// every filter asks for them.
template <typename T>
void finish_line(const ConvProblem& problem, const Epilogue<T>& epilogue, const Finish<T>& finish,
                 int64_t row, int64_t window, const std::vector<Span>& spans, int32_t filter, T* sums) {
  const T bias = epilogue.bias(filter), fill = epilogue.fill(filter);
  const WeightSums<T>& weight_sums = epilogue.weight_sums();
  int64_t done = 0;
  for (const auto& [first, end] : spans) {
    std::fill(sums + done, sums + first, fill);
    done = end;
    if (!weight_sums.given()) {
      finish_values(sums + first, &finish.factors[window + first], &finish.valid[window + first], bias, fill,
                    end - first);
      continue;
    }
    for (int64_t q = first; q < end; ++q)
      sums[q] = finish.valid[window + q]
                    ? weight_sums.finished(sums[q], row + q, filter, finish.factors[window + q], bias, fill)
                    : fill;
  }
  std::fill(sums + done, sums + problem.output[2], fill);
}

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask, const T* x,
         const T* weight, const T* bias, const std::vector<uint8_t>& valid, const ForwardOutput& out) {
  if (problem.rows() == 0) return;
  const Epilogue<T> epilogue(problem, mask, valid, out, bias);
  Finish<T> finish{std::vector<T>(valid.size()), {valid.begin(), valid.end()}};
  for (size_t i = 0; i < valid.size(); ++i) finish.factors[i] = epilogue.factor(int64_t(i));
  T* const y = static_cast<T*>(out.y);
  const int32_t channels = problem.channels_per_group(), filters = problem.filters_per_group();
  const int32_t* const kernel = problem.kernel;
  const int64_t filter_size = int64_t{channels} * problem.taps();
  const int64_t lines = int64_t{problem.output[0]} * problem.output[1];  // of an output plane
  const int64_t blocks = problem.batch * problem.groups * lines;
  const int64_t products = filter_size * filters * problem.output[2];
  const TileKernels<T>& kernels = tile_kernels<T>();

  // Planes of several lines are read by several lines of outputs: padded once. A sequence is read by one,
  // which pads it where it stays in cache.
  const PaddedLines<T> lines_of_x(problem, mask, x);
  const int64_t group_lines = int64_t{channels} * problem.input[0] * problem.input[1];
  const bool padded_once = group_lines > channels;
  Buffer<T> padded;
  if (padded_once) {
    const int64_t all = problem.batch * problem.groups * group_lines;
    T* const to = padded.get(all * lines_of_x.pitch());
    runtime.parallel_for(0, all, kGrainProducts / lines_of_x.pitch() + 1, [&](int64_t begin, int64_t end) {
      lines_of_x.write(begin, end, to + begin * lines_of_x.pitch());
    });
  }
  runtime.parallel_for(0, blocks, kGrainProducts / products + 1, [&](int64_t begin, int64_t end) {
    std::vector<const T*> sources, weights;
    std::vector<Span> spans;
    int64_t window_of_spans = -1;  // channels after each other, of sequences, have the same
    Buffer<T> own;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t d = block % lines / problem.output[1], h = block % problem.output[1];
      const int64_t image_group = block / lines, group = image_group % problem.groups;
      const int64_t first_line = image_group * group_lines;
      const T* const group_data = padded_once ? padded.data() + first_line * lines_of_x.pitch()
                                              : own.get(group_lines * lines_of_x.pitch());
      const int64_t row = (image_group / problem.groups * lines + block % lines) * problem.output[2];
      const int64_t window = problem.window_batch() > 1 ? row : row % problem.output_positions();
      if (window != window_of_spans) find_spans(&finish.valid[window], problem.output[2], spans);
      window_of_spans = window;
      if (!padded_once && !spans.empty()) lines_of_x.write(first_line, first_line + group_lines, own.data());
      sources.clear();
      weights.clear();
      for (int32_t c = 0; c < channels; ++c)
        for (int32_t td = 0; td < kernel[0]; ++td) {
          const int64_t sd = d * problem.stride[0] + int64_t{td} * problem.dilation[0] - problem.padding[0];
          if (sd < 0 || sd >= problem.input[0]) continue;
          for (int32_t th = 0; th < kernel[1]; ++th) {
            const int64_t sh = h * problem.stride[1] + int64_t{th} * problem.dilation[1] - problem.padding[1];
            if (sh < 0 || sh >= problem.input[1]) continue;
            const int64_t at = (int64_t{c} * problem.input[0] + sd) * problem.input[1] + sh;
            sources.push_back(group_data + at * lines_of_x.pitch());
            weights.push_back(weight + (int64_t{c} * kernel[0] + td) * kernel[1] * kernel[2] +
                              int64_t{th} * kernel[2]);
          }
        }
      LineOperands<T> line{sources.data(),
                           weights.data(),
                           int64_t(sources.size()),
                           kernel[2],
                           problem.dilation[2],
                           y + ((image_group * filters) * lines + block % lines) * problem.output[2],
                           0,
                           0,
                           filter_size,
                           lines * problem.output[2]};
      for (const T*& of_term : weights) of_term += group * filters * filter_size;
      for (int32_t k = 0; k < filters; k += 2) {
        for (const Span& span : spans) {
          line.first = span.first;
          line.end = span.end;
          kernels.sum_line[k + 1 < filters](line);
        }
        for (int32_t f = 0; f < std::min(2, filters - k); ++f)
          finish_line(problem, epilogue, finish, row, window, spans, int32_t(group * filters + k + f),
                      line.sums + f * line.filter_sums);
        for (const T*& of_term : weights) of_term += 2 * filter_size;
        line.sums += 2 * line.filter_sums;
      }
    }
  });
}

}  // namespace

bool can_direct(const ConvProblem& problem, DType dtype, const MaskView& mask) {
  return (dtype == DType::kFloat32 || dtype == DType::kFloat64) && problem.stride[2] == 1 && mask.shared();
}

bool prefers_direct(const ConvProblem& problem, DType dtype, const MaskView& mask) {
  if (!can_direct(problem, dtype, mask)) return false;
  if (dtype == DType::kFloat64) return problem.channels_per_group() <= kFewChannelsDouble;
  // Sequences lie in planes already, and the framework has no good kernel for depthwise ones.
  const bool sequence = problem.input[0] == 1 && problem.input[1] == 1;
  if (is_depthwise(problem) && (sequence || problem.channels <= kFewDepthwise)) return true;
  return problem.groups == 1 && problem.channels <= kFewChannels && problem.filters <= kFewFilters;
}

void forward_direct(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                    const void* x, const void* weight, const void* bias, const std::vector<uint8_t>& valid,
                    const ForwardOutput& out) {
  const auto run_as = [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, mask, static_cast<const T*>(x), static_cast<const T*>(weight),
        static_cast<const T*>(bias), valid, out);
  };
  dtype == DType::kFloat64 ? run_as(double{}) : run_as(float{});
}

}  // namespace maskconv::cpu
