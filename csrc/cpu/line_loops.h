// The loops over lines of outputs of tile.h: parts of a line, held in registers while the taps pass by.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/tile.h"
#include "cpu/vector.h"

namespace maskconv::cpu {
namespace {

// From output `from` on; the last vector may be stored in part.
template <typename T, int kBytes, int kFilters, int kVectors>
void sum_line_part(const LineOperands<T>& line, int64_t from) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int64_t kLanes = kBytes / int64_t(sizeof(T));
  V sums[kFilters][kVectors];
  MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) {
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) sums[f][v] = V{};
  }
  for (int64_t term = 0; term < line.terms; ++term) {
    const T* source = line.sources[term] + from;
    const T* weight = line.weights[term];
    for (int32_t t = 0; t < line.taps; ++t, source += line.dilation) {
      T weights[kFilters];
      MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) weights[f] = weight[f * line.filter_weights + t];
      MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) {
        const V values = *reinterpret_cast<const V*>(source + v * kLanes);
        MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) sums[f][v] += values * weights[f];
      }
    }
  }
  const int64_t stored = std::min(kVectors * kLanes, line.end - from);
  MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) {
    std::memcpy(line.sums + f * line.filter_sums + from, sums[f], size_t(stored) * sizeof(T));
  }
}

// Several sums at once hide the latency of their additions; the last parts overlap.
template <typename T, int kBytes, int kFilters, int kVectors = 8 / kFilters>
void sum_line(const LineOperands<T>& line) {
  constexpr int64_t kPart = kVectors * kBytes / int64_t(sizeof(T));
  if constexpr (kVectors > 1) {
    if (line.end - line.first < kPart) return sum_line<T, kBytes, kFilters, kVectors / 2>(line);
  }
  for (int64_t from = line.first; from < line.end; from += kPart)
    sum_line_part<T, kBytes, kFilters, kVectors>(line,
                                                 kVectors > 1 ? std::min(from, line.end - kPart) : from);
}

}  // namespace
}  // namespace maskconv::cpu
