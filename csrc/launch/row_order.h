// The order of rows on CUDA: no torch, no CUDA headers.
#pragma once

#include "plan/row_order.h"

namespace maskconv {

// Queues the kernel that writes keys and numbers on `cuda_stream` (a cudaStream_t) of the current device.
// Throws std::runtime_error if the launch fails.
void launch_row_keys(const RowKeyParams<ForwardParams>& params, void* cuda_stream);
void launch_row_keys(const RowKeyParams<GradInputParams>& params, void* cuda_stream);

struct RowSort {
  int64_t rows = 0;
  int32_t key_bits = 0;
  uint32_t* keys[2] = {};     // (rows) each, the first filled in, the second scratch
  uint32_t* numbers[2] = {};  // likewise
  void* workspace = nullptr;
  int64_t workspace_bytes = 0;
};

// What the workspace of a sort, not yet set, must have room for.
int64_t row_sort_workspace_bytes(const RowSort& sort);

// Queues the sort, stable and by descending key, with CUB; returns which of `numbers` will hold the order.
int launch_row_sort(const RowSort& sort, void* cuda_stream);

}  // namespace maskconv
