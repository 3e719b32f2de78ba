// What a launch of the implicit GEMM is given, derived once, on the host, and read alike by the launchers,
// the kernels and their emulation. Forward and grad_input are the same product: rows are positions of the
// result, columns its channels within a group, and the reduction runs over the taps and the channels of the
// source.
#pragma once

#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/gemm_config.h"

namespace maskconv {

struct GemmParams {
  ConvProblem problem;
  const void* source = nullptr;           // (N, *source axes, source_pitch): gathered tap by tap
  const uint8_t* source_valid = nullptr;  // (mask_batch, *source axes): read only where non-zero; null = all
  const void* weight = nullptr;           // (K, kD, kH, kW, C / groups)
  void* result = nullptr;                 // (N, *result axes, result_pitch)
  // (rows): a permutation of the result's positions, which tiles of rows are cut from; null = as they lie.
  const uint32_t* row_order = nullptr;

  int32_t depth = 0;         // reduction steps of one tap: channels of the source in a group ...
  int32_t source_pitch = 0;  // ... and in all groups
  int32_t columns = 0;       // channels of the result in a group ...
  int32_t result_pitch = 0;  // ... and in all groups
  int64_t weight_group_stride = 0;
  int64_t weight_column_stride = 0;  // this or the next is 1: 16-byte loads go that way
  int64_t weight_depth_stride = 0;
  int64_t weight_tap_stride = 0;

  int64_t row_tiles = 0;
  int32_t column_tiles_of_group = 1;
  bool vector_store = false;  // 16-byte stores: every row of a group starts on a 16-byte boundary

  // Column tiles run fastest, so that the blocks which share a source tile run together and meet in L2.
  constexpr int64_t column_tiles() const { return int64_t{column_tiles_of_group} * problem.groups; }
  constexpr int64_t blocks() const { return row_tiles * column_tiles(); }
};

constexpr int32_t kVectorBytes = 16;  // the widest load and store, and the unit of cp.async

constexpr int32_t element_bytes(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}
constexpr int32_t accumulator_bytes(DType dtype) { return dtype == DType::kFloat64 ? 8 : 4; }

constexpr int32_t kTapsPerWord = 32;
constexpr int32_t tap_words(int32_t taps) { return (taps + kTapsPerWord - 1) / kTapsPerWord; }
// From one word of the rows' bitsets to the next. The lanes of a warp that load elements ask for up to four
// rows and as many words at once: 8 banks apart.
constexpr int32_t tap_word_pitch(const GemmConfig& config) { return config.block_m + 8; }

// Byte offsets of what a block keeps in shared memory.
struct GemmLayout {
  int32_t stages = 0;    // operand buffers; after the main loop, the accumulators of the tile
  int32_t row_base = 0;  // int64 [block_m]: offset of the source position under tap 0, channel 0 of the group
  int32_t row_result = 0;  // RowResult of the pass [block_m]: what the epilogue has to know of a row
  int32_t live_count = 0;  // int32: taps some row of the tile needs
  int32_t live_delta = 0;  // int64 [taps]: what such a tap adds to row_base
  int32_t live_tap = 0;    // uint16 [taps]: its index
  int32_t row_taps = 0;    // uint32 [words][tap_word_pitch]: the tap bitset of each row
  int32_t total = 0;
};

constexpr int32_t kRowResultBytes = 16;  // of any pass and type

// Operand rows carry no padding in the mma kernel (they are swizzled). In the SIMT kernel, and for
// accumulators waiting for the epilogue, 16 or 32 bytes of padding a row spread the lanes of a warp over all
// banks; rows of accumulators that are half of the banks long lie in pairs, without any.
constexpr int32_t kSimtRowPadding = 16;
constexpr int32_t kTileRowPadding = 32;
constexpr int32_t kHalfBankRow = 64;

constexpr int32_t stage_bytes(const GemmConfig& config, DType dtype) {
  if (config.on_tensor_cores())
    return (config.block_m + config.block_n) * config.block_k * element_bytes(dtype);
  return config.block_k *
         ((config.block_m + config.block_n) * accumulator_bytes(dtype) + 2 * kSimtRowPadding);
}

constexpr int32_t tile_row_bytes(const GemmConfig& config, DType dtype) {
  const int32_t bytes = config.block_n * accumulator_bytes(dtype);
  return bytes == kHalfBankRow ? bytes : bytes + kTileRowPadding;
}

constexpr GemmLayout gemm_layout(const GemmConfig& config, DType dtype, int32_t taps) {
  const int32_t stages = config.stages * stage_bytes(config, dtype);
  const int32_t tile = config.block_m * tile_row_bytes(config, dtype);
  GemmLayout at;
  at.stages = 0;
  at.row_base = stages > tile ? stages : tile;
  at.row_result = at.row_base + config.block_m * 8;
  at.live_count = at.row_result + config.block_m * kRowResultBytes;
  at.live_delta = at.live_count + kVectorBytes;  // one number; the rest keeps what follows aligned
  at.live_tap = at.live_delta + taps * 8;
  at.row_taps = at.live_tap + (taps + 1) / 2 * 4;  // rounded up to whole words
  at.total = at.row_taps + tap_words(taps) * tap_word_pitch(config) * 4;
  return at;
}

}  // namespace maskconv
