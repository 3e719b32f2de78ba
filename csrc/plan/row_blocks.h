// Cutting an array of rows and columns into blocks of threads, for kernels that pass over it once: a thread
// keeps its columns, and goes down the rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan/gemm_params.h"

namespace maskconv {

struct RowBlocks {
  int32_t vector = 1;           // elements a thread loads and stores at once
  int32_t threads_per_row = 1;  // a power of two, so that shuffles reduce over the rows of a warp
  int32_t column_blocks = 0;
  int64_t row_blocks = 0;
  int64_t rows_per_block = 0;

  constexpr int64_t blocks() const { return row_blocks * column_blocks; }
};

constexpr int32_t kRowThreads = 256;
// Rows whose loads a thread has in flight together: enough bytes to hide the latency of memory.
constexpr int32_t kRowUnroll = 4;
// Blocks a column is cut into at most: as many as the largest GPUs hold at once. A constant, so that sums
// over the rows have one order on every GPU.
constexpr int64_t kMaxRowBlocks = 1024;

// Elements to move at once: 16 bytes, where all arrays begin on such a boundary and no unit of columns (a
// group, which has windows of its own) ends within; else 1. `begins`: the addresses, or'ed.
inline int32_t row_vector(DType dtype, int32_t unit, uintptr_t begins) {
  const int32_t widest = kVectorBytes / element_bytes(dtype);
  return begins % kVectorBytes == 0 && unit % widest == 0 ? widest : 1;
}

inline RowBlocks cut_rows(int64_t rows, int32_t columns, int32_t vector) {
  RowBlocks cut;
  cut.vector = vector;
  const int32_t vectors = columns / vector;
  while (cut.threads_per_row < std::min(vectors, 32)) cut.threads_per_row *= 2;
  cut.column_blocks = (vectors + cut.threads_per_row - 1) / cut.threads_per_row;
  const int64_t at_once = kRowThreads / cut.threads_per_row * int64_t{kRowUnroll};
  const int64_t steps = (rows + at_once - 1) / at_once;
  cut.rows_per_block = std::max<int64_t>(1, (steps + kMaxRowBlocks - 1) / kMaxRowBlocks) * at_once;
  cut.row_blocks = (rows + cut.rows_per_block - 1) / cut.rows_per_block;
  return cut;
}

}  // namespace maskconv
