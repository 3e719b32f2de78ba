// The dense route: select, the framework's convolution (called by the bindings), finish. Two passes over
// memory more than a bare convolution, at the framework's own speed in between.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/engine.h"
#include "cpu/epilogue.h"

namespace maskconv::cpu {
namespace {

// Shares of valid outputs above which the framework's convolution is taken to be faster: estimates between
// timings at all, half and a tenth of the outputs, on 2 cores with AVX-512. Its GEMM rate is a little above
// the library's, and it has kernels for narrow layers, where a GEMM has next to no work a call. Never for
// 16-bit floats, whose sums it would round, or overflow, before they are scaled.
constexpr double kDenseShare = 0.85;
constexpr double kDenseShareDepthwise = 0.3;
constexpr double kDenseShareNarrow = 0.15;
constexpr int32_t kNarrow = 16;  // channels or filters of a group

constexpr int64_t kGrainElements = 1 << 15;  // that are worth a thread
constexpr int64_t kBlockRows = 64;

template <typename T, typename M>
T selected_value(T value, M m) {
  if (m == 0) return T{};
  if constexpr (std::is_same_v<M, uint8_t>) {
    return value;
  } else {
    return value * m;
  }
}

template <typename T, typename M>
void select_values(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask, const T* x,
                   const Strides& strides, T* to) {
  const int64_t positions = problem.input_positions();
  const int32_t channels = problem.channels;
  const auto* m = static_cast<const M*>(mask.data);
  const auto image_of = [&](int64_t n) {
    return m + (problem.mask_batch > 1 ? n * positions * mask.channels : 0);
  };
  std::vector<int32_t> mask_channel(channels, 0);
  for (const MaskPart& part : mask.parts)
    std::fill_n(mask_channel.begin() + part.first_channel, part.channels, part.mask_channel);

  if (strides.channel == 1) {
    const int64_t grain = std::max<int64_t>(1, kGrainElements / channels);
    runtime.parallel_for(0, problem.batch * positions, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const M* at = image_of(row / positions) + row % positions * mask.channels;
        const T* from = x + row * channels;
        T* out = to + row * channels;
        if (mask.channels > 1) {
          for (int32_t c = 0; c < channels; ++c) out[c] = selected_value(from[c], at[mask_channel[c]]);
        } else if (std::is_same_v<M, uint8_t> && *at != 0) {
          std::memcpy(out, from, channels * sizeof(T));
        } else {
          for (int32_t c = 0; c < channels; ++c) out[c] = selected_value(from[c], *at);
        }
      }
    });
  } else {
    const int64_t grain = std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, positions));
    runtime.parallel_for(0, problem.batch * channels, grain, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const M* at = image_of(plane / channels) + mask_channel[plane % channels];
        const T* from = x + plane * positions;
        T* out = to + plane * positions;
        if (mask.channels == 1) {
          for (int64_t p = 0; p < positions; ++p) out[p] = selected_value(from[p], at[p]);
        } else {
          for (int64_t p = 0; p < positions; ++p) out[p] = selected_value(from[p], at[p * mask.channels]);
        }
      }
    });
  }
}

template <typename T>
void finish_rows(const Runtime& runtime, const ConvProblem& problem, const Epilogue<T>& epilogue, T* y) {
  const int64_t grain = std::max<int64_t>(kBlockRows, kGrainElements / problem.filters);
  runtime.parallel_for(0, problem.rows(), grain, [&](int64_t begin, int64_t end) {
    int64_t rows[kBlockRows];
    for (int64_t first = begin; first < end; first += kBlockRows) {
      const int64_t count = std::min(kBlockRows, end - first);
      for (int64_t i = 0; i < count; ++i) rows[i] = first + i;
      epilogue(rows, count, y + first * problem.filters);
    }
  });
}

template <typename T>
void finish_planes(const Runtime& runtime, const ConvProblem& problem, const MaskView& mask,
                   const Epilogue<T>& epilogue, const std::vector<uint8_t>& valid, T* y) {
  const int64_t positions = problem.output_positions();
  const int32_t filters = problem.filters, windows = mask.window_channels;
  // Planes of scale(q) and valid(q), in the order of the planes of y.
  std::vector<T> factor(valid.size());
  std::vector<uint8_t> is_valid(valid.size());
  for (int64_t n = 0; n < problem.window_batch(); ++n)
    for (int64_t q = 0; q < positions; ++q)
      for (int32_t g = 0; g < windows; ++g) {
        const int64_t from = (n * positions + q) * windows + g, to = (n * windows + g) * positions + q;
        factor[to] = epilogue.factor(from);
        is_valid[to] = valid[from];
      }
  const int64_t grain = std::max<int64_t>(1, kGrainElements / positions);
  runtime.parallel_for(0, problem.batch * filters, grain, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t n = problem.window_batch() > 1 ? plane / filters : 0;
      const int32_t k = static_cast<int32_t>(plane % filters);
      const int64_t window = (n * windows + int64_t{k} * windows / filters) * positions;
      if (epilogue.weight_sums().given()) {
        epilogue.weight_sums().finish_plane(y + plane * positions, plane / filters, k, &factor[window],
                                            &is_valid[window], epilogue.bias(k), epilogue.fill(k));
        continue;
      }
      finish_plane(y + plane * positions, &factor[window], &is_valid[window], epilogue.bias(k),
                   epilogue.fill(k), positions);
    }
  });
}

// Calls fn with a value of the element type.
template <typename Fn>
void dispatch_wide(DType dtype, const Fn& fn) {
  dtype == DType::kFloat64 ? fn(double{}) : fn(float{});
}

}  // namespace

double dense_share(const ConvProblem& problem, DType dtype) {
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) return 1.0;
  const int32_t channels = problem.channels_per_group(), filters = problem.filters_per_group();
  if (channels == 1 && filters == 1 && problem.groups > 1) return kDenseShareDepthwise;
  if (std::min(channels, filters) < kNarrow) return kDenseShareNarrow;
  return kDenseShare;
}

bool prefers_dense(const ConvProblem& problem, DType dtype, const std::vector<uint8_t>& valid) {
  if (valid.empty() || problem.rows() == 0) return false;
  const auto live = std::count_if(valid.begin(), valid.end(), [](uint8_t v) { return v != 0; });
  return double(live) > dense_share(problem, dtype) * double(valid.size());
}

bool has_holes(const ConvProblem& problem, const MaskView& mask) {
  if (mask.kind != MaskKind::kHard) return mask.kind == MaskKind::kSoft;  // whose values multiply
  const int64_t count = problem.mask_batch * problem.input_positions() * mask.channels;
  return std::memchr(mask.data, 0, count) != nullptr;
}

void select(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
            const void* x, const Strides& strides, void* selected) {
  dispatch_wide(dtype, [&](auto element) {
    using T = decltype(element);
    const auto* from = static_cast<const T*>(x);
    auto* to = static_cast<T*>(selected);
    if (mask.kind == MaskKind::kSoft) {
      select_values<T, T>(runtime, problem, mask, from, strides, to);
    } else {
      select_values<T, uint8_t>(runtime, problem, mask, from, strides, to);
    }
  });
}

void finish(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
            const void* bias, const std::vector<uint8_t>& valid, const ForwardOutput& out) {
  dispatch_wide(dtype, [&](auto element) {
    using T = decltype(element);
    const Epilogue<T> epilogue(problem, mask, valid, out, static_cast<const T*>(bias));
    auto* y = static_cast<T*>(out.y);
    if (out.strides.channel == 1) {
      finish_rows(runtime, problem, epilogue, y);
    } else {
      finish_planes(runtime, problem, mask, epilogue, valid, y);
    }
  });
}

}  // namespace maskconv::cpu
