// What a grad_weight launch is given, and the shared memory of its blocks: read alike by the launchers, the
// kernels and their emulation.
#pragma once

#include <cstdint>

#include "plan/gemm_params.h"
#include "plan/grad_weight_config.h"
#include "plan/output_gradient.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation), laid out as the problem says.
struct GradWeightArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of the gradients and input
  OutputGradient gradient;
  const void* input = nullptr;    // (N, D, H, W, C)
  const uint8_t* mask = nullptr;  // (mask_batch, D, H, W), non-zero = valid; null with mask_batch 0
  void* result = nullptr;         // (K, kD, kH, kW, C / groups)
  void* workspace = nullptr;      // (splits, K, kD, kH, kW, C / groups) of accumulators; null with one split
};

// gw[k, column] = sum over output rows: the rows are dealt out to `splits` blocks for every tile. With one
// split a tile's sums are the result; else each is written to the workspace, and a second kernel adds them up
// in order of the splits. So the result is the same bit for bit, however blocks are scheduled.
struct GradWeightParams : GradWeightArguments {
  int32_t splits = 1;
  int64_t rows_per_split = 0;
  int32_t filter_tiles = 1;  // of one group
  int64_t column_tiles = 1;

  constexpr int64_t columns() const { return int64_t{problem.taps()} * problem.channels_per_group(); }
  constexpr int64_t tiles() const { return problem.groups * filter_tiles * column_tiles; }
  // Tiles run fastest: the blocks that share rows run together, and meet in L2.
  constexpr int64_t blocks() const { return splits * tiles(); }
  constexpr int64_t elements() const { return problem.filters * columns(); }
};

namespace grad_weight {

// A block lists the rows it needs before it multiplies them, so that rows without a live tap cost no
// arithmetic. It looks at kRowsPerThread rows a thread at once, whose mask bytes are then under way together,
// and stops when the list might not take the next ones.
constexpr int32_t kRowsPerThread = 2;
constexpr int32_t rows_per_scan(const GemmConfig& config) { return kRowsPerThread * config.threads(); }
// Of the smallest tiles with four stages a shorter list leaves room for a third block in 164 KiB, and a
// fourth in 227.
constexpr int32_t listed_scans(const GemmConfig& config) {
  return config.stages == 4 && config.block_n == 64 ? 3 : 4;
}
// What is left when the arithmetic takes whole steps only waits in the list for the next scan.
constexpr int32_t list_capacity(const GemmConfig& config) {
  return listed_scans(config) * rows_per_scan(config) + config.block_k;
}

// At most so many taps share a tile: one each 16 bytes of columns, or one each column.
constexpr int32_t taps_per_tile(const GemmConfig& config) {
  if (config.kernel == GemmKernel::kSimt || config.kernel == GemmKernel::kPacked) return config.block_n;
  const int32_t element_bytes = config.kernel == GemmKernel::kTf32 ? 4 : 2;
  return config.block_n / (kVectorBytes / element_bytes);
}
constexpr int32_t tap_bits_bytes(const GemmConfig& config) { return taps_per_tile(config) <= 32 ? 4 : 8; }

// Byte offsets of what a block keeps in shared memory.
struct Layout {
  int32_t stages = 0;       // operand buffers: block_k rows of grad, then as many of the input
  int32_t row_grad = 0;     // int64 [list_capacity]: offset of the row's filters of the tile in grad
  int32_t row_input = 0;    // int64 [list_capacity]: of the input under tap 0, channel 0 of the group
  int32_t row_scale = 0;    // [list_capacity] in the type of sums, or halves [2][list_capacity] (RowScales)
  int32_t row_taps = 0;     // tap bits [list_capacity]: which of the tile's taps are live
  int32_t warp_counts = 0;  // int32 [2][kRowsPerThread][warps]: live rows of each warp, of every other scan
  int32_t total = 0;
};

constexpr int32_t operand_bytes(const GemmConfig& config, DType dtype) {
  return config.on_tensor_cores() ? element_bytes(dtype) : accumulator_bytes(dtype);
}
constexpr int32_t operand_stage_bytes(const GemmConfig& config, DType dtype) {
  return config.block_k * (config.block_m + config.block_n) * operand_bytes(config, dtype);
}

constexpr Layout layout(const GemmConfig& config, DType dtype) {
  const int32_t capacity = list_capacity(config);
  Layout at;
  at.stages = 0;
  at.row_grad = config.stages * operand_stage_bytes(config, dtype);
  at.row_input = at.row_grad + capacity * 8;
  at.row_scale = at.row_input + capacity * 8;
  at.row_taps = at.row_scale + capacity * accumulator_bytes(dtype);
  at.warp_counts = at.row_taps + capacity * tap_bits_bytes(config);
  at.total = at.warp_counts + 2 * kRowsPerThread * (config.threads() / 32) * 4;
  return at;
}

// Partial sums are added up by blocks of kReduceElements x kReduceLanes threads, a lane taking every
// kReduceLanes-th split.
constexpr int32_t kReduceElements = 32;
constexpr int32_t kReduceLanes = 8;
constexpr int32_t reduce_shared_bytes(DType dtype) {
  return kReduceElements * kReduceLanes * accumulator_bytes(dtype);
}

}  // namespace grad_weight

}  // namespace maskconv
