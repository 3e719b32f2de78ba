// Shared memory of a block of the implicit GEMM: a typed view of GemmLayout, and the two permutations that
// keep the lanes of a warp on different banks.
#pragma once

#include "device/element.cuh"
#include "plan/gemm_params.h"

namespace maskconv {

// The grid is one-dimensional, with columns running fastest (GemmParams::column_tiles).
struct GemmTile {
  uint32_t row_tile;
  int32_t group;
  int32_t first_column;  // within the group
  bool speaks_for_rows;  // this tile, of all that share its rows, writes what there is one of for each row
};

template <GemmConfig kConfig>
__device__ __forceinline__ GemmTile gemm_tile(const GemmParams& params) {
  const uint32_t columns = static_cast<uint32_t>(params.column_tiles());
  const uint32_t column = blockIdx.x % columns;
  GemmTile tile;
  tile.row_tile = blockIdx.x / columns;
  tile.group = static_cast<int32_t>(column / params.column_tiles_of_group);
  tile.first_column = static_cast<int32_t>(column % params.column_tiles_of_group) * kConfig.block_n;
  tile.speaks_for_rows = column == 0;
  return tile;
}

template <GemmConfig kConfig, class Element>
struct GemmSmem {
  using Acc = Accumulator<Element>;
  static constexpr DType kType = kDType<Element>;

  unsigned char* stages;
  int64_t* row_base;
  unsigned char* row_results;
  int32_t* live_count;
  int64_t* live_delta;
  uint16_t* live_tap;
  uint32_t* row_taps;
  float* tap_factors;

  __device__ __forceinline__ explicit GemmSmem(int32_t taps) {
    const GemmLayout at = gemm_layout(kConfig, kType, taps);
    unsigned char* smem = ptx::dynamic_smem();
    stages = smem + at.stages;
    row_base = reinterpret_cast<int64_t*>(smem + at.row_base);
    row_results = smem + at.row_result;
    live_count = reinterpret_cast<int32_t*>(smem + at.live_count);
    live_delta = reinterpret_cast<int64_t*>(smem + at.live_delta);
    live_tap = reinterpret_cast<uint16_t*>(smem + at.live_tap);
    row_taps = reinterpret_cast<uint32_t*>(smem + at.row_taps);
    tap_factors = reinterpret_cast<float*>(smem + at.tap_factor);
  }

  __device__ __forceinline__ unsigned char* stage(int32_t index) const {
    return stages + index * stage_bytes(kConfig, kType);
  }

  template <class RowResult>
  __device__ __forceinline__ RowResult* row_result(int32_t row) const {
    static_assert(sizeof(RowResult) <= kRowResultBytes);
    return reinterpret_cast<RowResult*>(row_results) + row;
  }

  // Word of the row's bitset that holds `tap`.
  __device__ __forceinline__ uint32_t* tap_word(int32_t row, int32_t tap) const {
    return row_taps + tap / kTapsPerWord * tap_word_pitch(kConfig) + row;
  }

  // Accumulators wait for the epilogue where the stages were. A lane of the epilogue reads two neighbouring
  // 16-byte chunks of a row when elements are half as wide as accumulators; exchanging the chunks of each
  // pair in every other 128 bytes of accumulators lets 8 such lanes meet no bank twice. Where two rows fill
  // the banks, 8 lanes of the epilogue read two neighbours, and 8 of the SIMT kernel write two that are 4
  // rows apart: so in every other four rows the two of a pair change places.
  __device__ __forceinline__ Acc* accumulator(int32_t row, int32_t column) const {
    constexpr int32_t kPerChunk = kVectorBytes / sizeof(Acc);
    constexpr int32_t kChunksPerRow = kConfig.block_n / kPerChunk;
    constexpr int32_t kChunksPerBankRow = 8;
    constexpr int32_t kRowBytes = tile_row_bytes(kConfig, kType);
    int32_t chunk = column / kPerChunk;
    if constexpr (kRowBytes == kHalfBankRow) {
      row ^= row / 4 & 1;
    } else {
      chunk ^= (row * kChunksPerRow + chunk) / kChunksPerBankRow & 1;
    }
    return reinterpret_cast<Acc*>(stages + row * kRowBytes) + chunk * kPerChunk + column % kPerChunk;
  }
};

// Byte offset of a 16-byte chunk in an operand tile whose rows are kRowChunks chunks long. ldmatrix reads one
// chunk of 8 consecutive rows: the exclusive or spreads them over the 8 chunks of a bank row.
template <int32_t kRowChunks>
__device__ __forceinline__ int32_t swizzled(int32_t row, int32_t chunk) {
  constexpr int32_t kBankRowChunks = 8;  // of 128 bytes
  static_assert(kRowChunks == 4 || kRowChunks % kBankRowChunks == 0,
                "a row is half a bank row, or whole ones");
  constexpr int32_t kRowsPerBankRow = kRowChunks < kBankRowChunks ? kBankRowChunks / kRowChunks : 1;
  constexpr int32_t kPlaces = kRowChunks < kBankRowChunks ? kRowChunks : kBankRowChunks;
  return (row * kRowChunks + (chunk ^ (row / kRowsPerBankRow % kPlaces))) * kVectorBytes;
}

}  // namespace maskconv
