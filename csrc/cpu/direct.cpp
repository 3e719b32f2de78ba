#include "cpu/direct.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/clones.h"

namespace maskconv::cpu {
namespace {

// Where it was faster than the framework's convolution, on a core with AVX-512: of float64 with up to so many
// channels a group, for which that copies every window; of float32 in images, not of depthwise layers.
constexpr int32_t kFewChannelsDouble = 8;
constexpr int32_t kFewChannels = 4, kFewFilters = 2;
constexpr int64_t kGrainProducts = 1 << 17;  // that are worth a thread
constexpr int kLineVectors = 4;              // of 64 bytes, that are summed at once

// An output line of one filter, or of two: so many terms, each a source line and a line of taps.
template <typename T>
struct Line {
  const T* const* sources;
  const T* const* weights;  // of the first filter
  int64_t terms;
  int32_t taps, dilation;
  T* sums;
  int64_t length;
  int64_t filter_weights, filter_sums;  // from those of one filter to those of the next
};

// As many vectors as fit, from output `from` on, and with kTail one more that is stored in part.
template <int kFilters, int kVectors, bool kTail, typename T>
MASKCONV_INLINE int64_t sum_line(const Line<T>& line, int64_t from) {
  using V = typename Vector<T, 64>::type;
  constexpr int64_t kLanes = 64 / int64_t(sizeof(T)), kBlock = kVectors * kLanes;
  for (; from + (kTail ? 1 : kBlock) <= line.length; from += kBlock) {
    V sums[kFilters][kVectors] = {};
    for (int64_t term = 0; term < line.terms; ++term) {
      const T* source = line.sources[term] + from;
      const T* weight = line.weights[term];
      for (int32_t t = 0; t < line.taps; ++t, source += line.dilation)
#pragma GCC unroll 4
        for (int i = 0; i < kVectors; ++i) {
          const V values = *reinterpret_cast<const V*>(source + i * kLanes);
#pragma GCC unroll 2
          for (int f = 0; f < kFilters; ++f) sums[f][i] += values * weight[f * line.filter_weights + t];
        }
    }
    const size_t bytes = std::min(kBlock, line.length - from) * sizeof(T);
    for (int f = 0; f < kFilters; ++f)
      std::memcpy(line.sums + f * line.filter_sums + from, sums[f], kTail ? bytes : kBlock * sizeof(T));
  }
  return from;
}

template <int kFilters, typename T>
MASKCONV_INLINE void sum_whole_line(const Line<T>& line) {
  int64_t from = sum_line<kFilters, kLineVectors, false>(line, 0);
  from = sum_line<kFilters, 1, false>(line, from);
  sum_line<kFilters, 1, true>(line, from);
}

MASKCONV_CLONES void sum_one(const Line<float>& line) { sum_whole_line<1>(line); }
MASKCONV_CLONES void sum_one(const Line<double>& line) { sum_whole_line<1>(line); }
MASKCONV_CLONES void sum_two(const Line<float>& line) { sum_whole_line<2>(line); }
MASKCONV_CLONES void sum_two(const Line<double>& line) { sum_whole_line<2>(line); }

// x with zeros on either side of every line, as many as taps and whole vectors reach.
template <typename T>
struct PaddedLines {
  std::vector<T> data;
  int64_t pitch;

  PaddedLines(const Runtime& runtime, const ConvProblem& problem, const T* x) {
    constexpr int64_t kLanes = 64 / int64_t(sizeof(T));
    const int64_t length = problem.input[2], before = problem.padding[2];
    const int64_t reach = problem.output[2] + int64_t{problem.kernel[2] - 1} * problem.dilation[2] + kLanes;
    pitch = std::max(before + length, reach);
    const int64_t lines = problem.batch * problem.channels * problem.input_positions() / length;
    data.resize(lines * pitch);
    runtime.parallel_for(0, lines, kGrainProducts / pitch + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        std::copy_n(x + i * length, length, data.data() + i * pitch + before);
    });
  }
};

template <typename T>
void convolve(const Runtime& runtime, const ConvProblem& problem, const T* x, const T* weight, T* y) {
  const PaddedLines<T> padded(runtime, problem, x);
  const int32_t channels = problem.channels_per_group(), filters = problem.filters_per_group();
  const int32_t* const kernel = problem.kernel;
  const int64_t filter_size = int64_t{channels} * problem.taps();
  const int64_t lines = int64_t{problem.output[0]} * problem.output[1];  // of an output plane
  const int64_t blocks = problem.batch * problem.groups * lines;
  const int64_t products = filter_size * filters * problem.output[2];
  runtime.parallel_for(0, blocks, kGrainProducts / products + 1, [&](int64_t begin, int64_t end) {
    std::vector<const T*> sources, weights;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t d = block % lines / problem.output[1], h = block % problem.output[1];
      const int64_t image_group = block / lines, group = image_group % problem.groups;
      sources.clear();
      weights.clear();
      for (int32_t c = 0; c < channels; ++c)
        for (int32_t td = 0; td < kernel[0]; ++td) {
          const int64_t sd = d * problem.stride[0] + int64_t{td} * problem.dilation[0] - problem.padding[0];
          if (sd < 0 || sd >= problem.input[0]) continue;
          for (int32_t th = 0; th < kernel[1]; ++th) {
            const int64_t sh = h * problem.stride[1] + int64_t{th} * problem.dilation[1] - problem.padding[1];
            if (sh < 0 || sh >= problem.input[1]) continue;
            const int64_t plane = (image_group * channels + c) * problem.input[0] + sd;
            sources.push_back(padded.data.data() + (plane * problem.input[1] + sh) * padded.pitch);
            weights.push_back(weight + (int64_t{c} * kernel[0] + td) * kernel[1] * kernel[2] +
                              int64_t{th} * kernel[2]);
          }
        }
      Line<T> line{
          sources.data(),           weights.data(),
          int64_t(sources.size()),  kernel[2],
          problem.dilation[2],      y + ((image_group * filters) * lines + block % lines) * problem.output[2],
          problem.output[2],        filter_size,
          lines * problem.output[2]};
      for (const T*& of_term : weights) of_term += group * filters * filter_size;
      for (int32_t k = 0; k < filters; k += 2) {
        k + 1 < filters ? sum_two(line) : sum_one(line);
        for (const T*& of_term : weights) of_term += 2 * filter_size;
        line.sums += 2 * line.filter_sums;
      }
    }
  });
}

}  // namespace

bool prefers_direct(const ConvProblem& problem, DType dtype) {
  if (problem.stride[2] != 1 || problem.rows() == 0) return false;
  if (dtype == DType::kFloat64) return problem.channels_per_group() <= kFewChannelsDouble;
  return problem.groups == 1 && problem.channels <= kFewChannels && problem.filters <= kFewFilters;
}

void convolve_direct(const Runtime& runtime, const ConvProblem& problem, DType dtype, const void* x,
                     const void* weight, void* y) {
  if (dtype == DType::kFloat64) {
    convolve(runtime, problem, static_cast<const double*>(x), static_cast<const double*>(weight),
             static_cast<double*>(y));
  } else {
    convolve(runtime, problem, static_cast<const float*>(x), static_cast<const float*>(weight),
             static_cast<float*>(y));
  }
}

}  // namespace maskconv::cpu
