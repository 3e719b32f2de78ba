// The loops of tile.h for one instruction set: whoever includes this has chosen it beforehand, for the whole
// file.
#pragma once

#include <cstdint>

#include "cpu/dot_loops.h"
#include "cpu/line_loops.h"
#include "cpu/tile.h"
#include "cpu/vector.h"

namespace maskconv::cpu {
namespace {

template <typename T, int kBytes, int kRows, int kVectors>
void store_sums(const typename Vector<T, kBytes>::type (&tile)[kRows][kVectors], T* sums, int64_t ld,
                bool add) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int kLanes = kBytes / int(sizeof(T));
  MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) {
      V* to = reinterpret_cast<V*>(sums + i * ld + v * kLanes);
      *to = add ? *to + tile[i][v] : tile[i][v];
    }
  }
}

template <typename T, int kBytes, int kRows, int kVectors>
void multiply_tile(const TileOperands<T>& operands) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int kLanes = kBytes / int(sizeof(T));
  V tile[kRows][kVectors];
  MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] = V{};
  }
  const char* next = reinterpret_cast<const char*>(operands.next);
  const int64_t next_step = operands.segments > 0 ? kRows * int64_t(sizeof(T)) / operands.segments : 0;
  for (int64_t s = 0; s < operands.segments; ++s) {
    const T* row[kRows];
    MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) row[i] = operands.rows[s * kRows + i] + operands.offset;
    const T* panel = operands.weights[s];
    for (int64_t t = 0; t < operands.length; ++t, panel += kVectors * kLanes, next += next_step) {
      __builtin_prefetch(next);
      V filters[kVectors];
      MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) {
        filters[v] = *reinterpret_cast<const V*>(panel + v * kLanes);
      }
      MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
        const T value = row[i][t];
        MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] += value * filters[v];
      }
    }
  }
  store_sums<T, kBytes, kRows, kVectors>(tile, operands.sums, operands.ld, operands.add);
}

template <typename T, int kBytes, int kRows, int kVectors>
int64_t multiply_channel_blocks(const TileOperands<T>& operands, int64_t from) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int kLanes = kBytes / int(sizeof(T));
  for (; from + kVectors * kLanes <= operands.length; from += kVectors * kLanes) {
    V tile[kRows][kVectors];
    MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
      MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] = V{};
    }
    for (int64_t s = 0; s < operands.segments; ++s) {
      const T* row[kRows];
      MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
        row[i] = operands.rows[s * kRows + i] + operands.offset + from;
      }
      const T* weight = operands.weights[s] + from;
      int64_t at = 0;
      for (int32_t t = 0; t < operands.taps; ++t, at += operands.length) {
        V weights[kVectors];
        MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) {
          weights[v] = *reinterpret_cast<const V*>(weight + at + v * kLanes);
        }
        MASKCONV_UNROLL for (int i = 0; i < kRows; ++i) {
          const V* values = reinterpret_cast<const V*>(row[i] + at);
          MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] += values[v] * weights[v];
        }
      }
    }
    store_sums<T, kBytes, kRows, kVectors>(tile, operands.sums + from, operands.ld, operands.add);
  }
  return from;
}

// Whole vectors first, then ever shorter ones.
template <typename T, int kBytes, int kRows, int kVectors>
void multiply_channels(const TileOperands<T>& operands) {
  int64_t from = multiply_channel_blocks<T, kBytes, kRows, kVectors>(operands, 0);
  if constexpr (kVectors > 2) from = multiply_channel_blocks<T, kBytes, kRows, 2>(operands, from);
  from = multiply_channel_blocks<T, kBytes, kRows, 1>(operands, from);
  from = multiply_channel_blocks<T, 16, kRows, 1>(operands, from);
  multiply_channel_blocks<T, sizeof(T), kRows, 1>(operands, from);
}

template <typename T, int kBytes, int kSteps, int kVectors>
void add_pairs(const PairOperands<T>& operands) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int kLanes = kBytes / int(sizeof(T));
  V tile[kSteps][kVectors];
  MASKCONV_UNROLL for (int i = 0; i < kSteps; ++i) {
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] = V{};
  }
  for (int64_t p = 0; p < operands.pairs; ++p) {
    const T* value = operands.values[p] + operands.value_offset;
    const T* grad = operands.grads[p] + operands.grad_offset;
    V filters[kVectors];
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) filters[v] =
        *reinterpret_cast<const V*>(grad + v * kLanes);
    MASKCONV_UNROLL for (int i = 0; i < kSteps; ++i) {
      MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[i][v] += value[i] * filters[v];
    }
  }
  store_sums<T, kBytes, kSteps, kVectors>(tile, operands.sums, operands.ld, true);
}

template <typename T, int kBytes, int kVectors>
int64_t add_channel_blocks(const PairOperands<T>& operands, int64_t from) {
  using V = typename Vector<T, kBytes>::type;
  constexpr int kLanes = kBytes / int(sizeof(T));
  for (; from + kVectors * kLanes <= operands.ld; from += kVectors * kLanes) {
    V tile[1][kVectors];
    MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[0][v] = V{};
    for (int64_t p = 0; p < operands.pairs; ++p) {
      const V* values = reinterpret_cast<const V*>(operands.values[p] + from);
      const V* grads = reinterpret_cast<const V*>(operands.grads[p] + from);
      MASKCONV_UNROLL for (int v = 0; v < kVectors; ++v) tile[0][v] += values[v] * grads[v];
    }
    store_sums<T, kBytes, 1, kVectors>(tile, operands.sums + from, operands.ld, true);
  }
  return from;
}

template <typename T, int kBytes>
void add_channel_pairs(const PairOperands<T>& operands) {
  int64_t from = add_channel_blocks<T, kBytes, 4>(operands, 0);
  from = add_channel_blocks<T, kBytes, 1>(operands, from);
  from = add_channel_blocks<T, 16, 1>(operands, from);
  add_channel_blocks<T, sizeof(T), 1>(operands, from);
}

// kRows: of a tile whose sums fill the registers.
template <typename T, int kBytes, int kRows, int kChannelVectors>
constexpr TileKernels<T> make_tile_kernels() {
  constexpr int kLanes = kBytes / int(sizeof(T)), kChannelRows = 6;
  constexpr int kDotRows = 4, kDotFilters = kBytes == 64 ? 6 : 3;  // as registers hold sums
  return {.vector_bytes = kBytes,
          .rows = kRows,
          .panel = 2 * kLanes,
          .narrow_panel = kLanes,
          .multiply = multiply_tile<T, kBytes, kRows, 2>,
          .multiply_narrow = multiply_tile<T, kBytes, kRows, 1>,
          .channel_rows = kChannelRows,
          .multiply_channels = multiply_channels<T, kBytes, kChannelRows, kChannelVectors>,
          .step_sizes = kBytes == 64 ? 4 : 3,
          .add_pairs = {add_pairs<T, kBytes, 1, 2>, add_pairs<T, kBytes, 2, 2>, add_pairs<T, kBytes, 4, 2>,
                        add_pairs<T, kBytes, 8, 2>},
          .add_pairs_narrow = {add_pairs<T, kBytes, 1, 1>, add_pairs<T, kBytes, 2, 1>,
                               add_pairs<T, kBytes, 4, 1>, add_pairs<T, kBytes, 8, 1>},
          .add_channel_pairs = add_channel_pairs<T, kBytes>,
          .dot_rows = kDotRows,
          .dot_filters = kDotFilters,
          .dot = {dot_filters<T, kBytes, kDotRows, 1>, dot_filters<T, kBytes, kDotRows, kDotFilters>},
          .sum_line = {sum_line<T, kBytes, 1>, sum_line<T, kBytes, 2>}};
}

}  // namespace
}  // namespace maskconv::cpu
