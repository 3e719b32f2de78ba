// A thread's share of an array cut by plan/row_blocks.h.
#pragma once

#include "device/ptx.cuh"
#include "plan/row_blocks.h"

namespace maskconv {

// Told no bound, ptxas spills some kernels to fit more blocks. This one caps the registers at 80 a thread.
constexpr int32_t kRowBlocksPerMultiprocessor = 3;

template <class Element, int32_t kVector>
struct alignas(kVector * sizeof(Element)) RowVector {
  Element value[kVector];
};

struct RowThread {
  int64_t row_block;
  int32_t column;        // the thread's first; may be beyond the last
  int32_t rows_at_once;  // from one row of the thread to its next
  int64_t row;           // the thread's first
  int64_t end;           // of the block's rows

  __device__ __forceinline__ RowThread(const RowBlocks& cut, int64_t rows)
      : row_block(blockIdx.x / cut.column_blocks),
        column(static_cast<int32_t>(blockIdx.x % cut.column_blocks * cut.threads_per_row +
                                    threadIdx.x % cut.threads_per_row) *
               cut.vector),
        rows_at_once(kRowThreads / cut.threads_per_row),
        row(row_block * cut.rows_per_block + threadIdx.x / cut.threads_per_row),
        end((row_block + 1) * cut.rows_per_block < rows ? (row_block + 1) * cut.rows_per_block : rows) {}
};

// The row of a mask or of windows beside that of the array: it wraps around where the batch shares one image.
class WrappedRow {
 public:
  __device__ __forceinline__ WrappedRow(const RowThread& thread, int64_t rows)
      : at_(thread.row % rows), step_(thread.rows_at_once % rows), rows_(rows) {}

  __device__ __forceinline__ int64_t operator*() const { return at_; }
  __device__ __forceinline__ void next() {
    at_ += step_;
    if (at_ >= rows_) at_ -= rows_;
  }

 private:
  int64_t at_;
  const int64_t step_;
  const int64_t rows_;
};

}  // namespace maskconv
