// Shared memory of a forward block: a typed view of ForwardLayout, and the two permutations that keep the
// lanes of a warp on different banks.
#pragma once

#include "device/element.cuh"
#include "plan/forward_params.h"

namespace maskconv {

// The grid is one-dimensional, with columns running fastest (ForwardParams::column_tiles).
struct ForwardTile {
  int64_t first_row;
  int32_t group;
  int32_t first_filter;  // within the group
  bool first_column;     // this tile, of all that share its rows, writes window sum and output mask
};

template <ForwardConfig kConfig>
__device__ __forceinline__ ForwardTile forward_tile(const ForwardParams& params) {
  const uint32_t columns = static_cast<uint32_t>(params.column_tiles());
  const uint32_t column = blockIdx.x % columns;
  ForwardTile tile;
  tile.first_row = static_cast<int64_t>(blockIdx.x / columns) * kConfig.block_m;
  tile.group = static_cast<int32_t>(column / params.filter_tiles);
  tile.first_filter = static_cast<int32_t>(column % params.filter_tiles) * kConfig.block_n;
  tile.first_column = column == 0;
  return tile;
}

template <ForwardConfig kConfig, class Element>
struct ForwardSmem {
  using Acc = Accumulator<Element>;
  static constexpr DType kType = kDType<Element>;

  unsigned char* stages;
  int64_t* row_base;
  Acc* row_scale;
  int32_t* row_valid;
  int32_t* live_count;
  int64_t* live_delta;
  int32_t* live_tap;
  uint32_t* row_taps;

  __device__ __forceinline__ explicit ForwardSmem(int32_t taps) {
    const ForwardLayout at = forward_layout(kConfig, kType, taps);
    unsigned char* smem = ptx::dynamic_smem();
    stages = smem + at.stages;
    row_base = reinterpret_cast<int64_t*>(smem + at.row_base);
    row_scale = reinterpret_cast<Acc*>(smem + at.row_scale);
    row_valid = reinterpret_cast<int32_t*>(smem + at.row_valid);
    live_count = reinterpret_cast<int32_t*>(smem + at.live_count);
    live_delta = reinterpret_cast<int64_t*>(smem + at.live_delta);
    live_tap = reinterpret_cast<int32_t*>(smem + at.live_tap);
    row_taps = reinterpret_cast<uint32_t*>(smem + at.row_taps);
  }

  __device__ __forceinline__ unsigned char* stage(int32_t index) const {
    return stages + index * stage_bytes(kConfig, kType);
  }

  // Word of the row's bitset that holds `tap`.
  __device__ __forceinline__ uint32_t* tap_word(int32_t row, int32_t tap) const {
    return row_taps + tap / kTapsPerWord * kConfig.block_m + row;
  }

  // Accumulators wait for the epilogue where the stages were. A lane of the epilogue reads two neighbouring
  // 16-byte chunks of a row when elements are half as wide as accumulators; exchanging the chunks of each
  // pair in every other 128 bytes lets 8 such lanes meet no bank twice.
  __device__ __forceinline__ Acc* accumulator(int32_t row, int32_t column) const {
    constexpr int32_t kPerChunk = kVectorBytes / sizeof(Acc);
    constexpr int32_t kChunksPerBankRow = 8;
    const int32_t chunk = column / kPerChunk;
    const int32_t place = chunk ^ (chunk / kChunksPerBankRow & 1);
    return reinterpret_cast<Acc*>(stages + row * tile_row_bytes(kConfig, kType)) + place * kPerChunk +
           column % kPerChunk;
  }
};

// Byte offset of a 16-byte chunk in an operand tile whose rows are kRowChunks chunks long. ldmatrix reads one
// chunk of 8 consecutive rows: the exclusive or spreads them over the 8 chunks of a bank row.
template <int32_t kRowChunks>
__device__ __forceinline__ int32_t swizzled(int32_t row, int32_t chunk) {
  static_assert(kRowChunks == 4 || kRowChunks == 8, "a row is half a bank row (128 bytes), or a whole one");
  constexpr int32_t kRowsPerBankRow = 8 / kRowChunks;
  return (row * kRowChunks + (chunk ^ (row / kRowsPerBankRow % kRowChunks))) * kVectorBytes;
}

}  // namespace maskconv
