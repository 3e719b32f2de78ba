// What one forward launch is given, and what is derived from it once, on the host: read alike by the
// launcher, the kernels and their emulation.
#pragma once

#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/forward_config.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation), laid out as the problem says.
struct ForwardArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of input, weight, bias and output
  const void* input = nullptr;    // (N, D, H, W, C)
  const uint8_t* mask = nullptr;  // (mask_batch, D, H, W), non-zero = valid; null with mask_batch 0
  const void* weight = nullptr;   // (K, kD, kH, kW, C / groups)
  const void* bias = nullptr;     // (K), or null
  void* output = nullptr;         // (N, oD, oH, oW, K)
  void* out_mask = nullptr;       // (window_batch, oD, oH, oW): uint8, or float32 for MaskUpdate::kFraction
  int32_t* window_sum = nullptr;  // (window_batch, oD, oH, oW)
};

struct ForwardParams : ForwardArguments {
  int32_t minimum_sum = 1;   // valid(q) is s >= minimum_sum, except for MaskUpdate::kCenter
  int32_t filter_tiles = 1;  // of one group
  int64_t row_tiles = 0;
  bool vector_store = false;  // 16-byte stores: every row of a group starts on a 16-byte boundary

  // Column tiles run fastest, so that the blocks which share an input tile run together and meet in L2.
  constexpr int64_t column_tiles() const { return int64_t{filter_tiles} * problem.groups; }
  constexpr int64_t blocks() const { return row_tiles * column_tiles(); }
};

constexpr int32_t kVectorBytes = 16;  // the widest load and store, and the unit of cp.async

constexpr int32_t element_bytes(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}
constexpr int32_t accumulator_bytes(DType dtype) { return dtype == DType::kFloat64 ? 8 : 4; }

constexpr int32_t kTapsPerWord = 32;
constexpr int32_t tap_words(int32_t taps) { return (taps + kTapsPerWord - 1) / kTapsPerWord; }

// Byte offsets of what a block keeps in shared memory.
struct ForwardLayout {
  int32_t stages = 0;     // operand buffers; after the main loop, the accumulators of the tile
  int32_t row_base = 0;   // int64 [block_m]: offset of the input position under tap 0, channel 0 of the group
  int32_t row_scale = 0;  // accumulator [block_m]: scale(q)
  int32_t row_valid = 0;  // int32 [block_m]: valid(q)
  int32_t live_count = 0;  // int32: taps some row of the tile needs
  int32_t live_delta = 0;  // int64 [taps]: what such a tap adds to row_base
  int32_t live_tap = 0;    // int32 [taps]: its index
  int32_t row_taps = 0;    // uint32 [words][block_m]: the tap bitset of each row
  int32_t total = 0;
};

// Operand rows carry no padding in the mma kernel (they are swizzled). In the SIMT kernel, and for
// accumulators waiting for the epilogue, 16 or 32 bytes of padding a row spread the lanes of a warp over all
// banks.
constexpr int32_t kSimtRowPadding = 16;
constexpr int32_t kTileRowPadding = 32;

constexpr int32_t stage_bytes(const ForwardConfig& config, DType dtype) {
  if (config.kernel == ForwardKernel::kMma)
    return (config.block_m + config.block_n) * config.block_k * element_bytes(dtype);
  return config.block_k *
         ((config.block_m + config.block_n) * accumulator_bytes(dtype) + 2 * kSimtRowPadding);
}

constexpr int32_t tile_row_bytes(const ForwardConfig& config, DType dtype) {
  return config.block_n * accumulator_bytes(dtype) + kTileRowPadding;
}

constexpr ForwardLayout forward_layout(const ForwardConfig& config, DType dtype, int32_t taps) {
  const int32_t stages = config.stages * stage_bytes(config, dtype);
  const int32_t tile = config.block_m * tile_row_bytes(config, dtype);
  ForwardLayout at;
  at.stages = 0;
  at.row_base = stages > tile ? stages : tile;
  at.row_scale = at.row_base + config.block_m * 8;
  at.row_valid = at.row_scale + config.block_m * accumulator_bytes(dtype);
  at.live_count = at.row_valid + config.block_m * 4;
  at.live_delta = at.live_count + kVectorBytes;  // one number; the rest keeps what follows aligned
  at.live_tap = at.live_delta + taps * 8;
  at.row_taps = at.live_tap + taps * 4;
  at.total = at.row_taps + tap_words(taps) * config.block_m * 4;
  return at;
}

}  // namespace maskconv
