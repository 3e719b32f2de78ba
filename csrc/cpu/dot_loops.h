// The loops over filters of tile.h: weights lie as they are given, each filter's own behind each other, so
// that a sum is a dot product along what both read.
#pragma once

#include <cstdint>

#include "cpu/tile.h"
#include "cpu/vector.h"

namespace maskconv::cpu {
namespace {

template <typename T, int kBytes, int kRows, int kFilters>
void dot_filters(const DotOperands<T>& operands) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int64_t kLanes = kBytes / int64_t(sizeof(T));
  V sums[kRows][kFilters];
  MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) sums[i][f] = V{};
  }
  for (int64_t term = 0; term < operands.terms; ++term) {
    const T* row[kRows];
    const T* filter[kFilters];
    MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
      row[i] = operands.rows[term * kRows + i] + operands.offset;
    }
    MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) {
      filter[f] = operands.weights + f * operands.filter_size + operands.places[term];
    }
    const int64_t length = operands.lengths[term];
    int64_t at = 0;
    for (; at + kLanes <= length; at += kLanes) {
      V weights[kFilters];
      MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) {
        weights[f] = *reinterpret_cast<const V*>(filter[f] + at);
      }
      MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
        const V values = *reinterpret_cast<const V*>(row[i] + at);
        MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) sums[i][f] += values * weights[f];
      }
    }
    for (; at < length; ++at) {
      MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
        MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) sums[i][f][0] += row[i][at] * filter[f][at];
      }
    }
  }
  MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    MASKCONV_UNROLL for (int f = 0; f < kFilters; ++f) {
      T sum = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) sum += sums[i][f][lane];
      operands.sums[i * operands.ld + f] = sum;
    }
  }
}

}  // namespace
}  // namespace maskconv::cpu
