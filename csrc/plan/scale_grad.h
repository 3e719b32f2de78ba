// The backward's first pass as plain data: from the gradient of the output to that of the accumulator,
// scale(q) * grad where valid(q), else 0, and the gradient of the bias.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/gemm_params.h"

namespace maskconv {

struct ScaleGradProblem {
  int64_t batch = 0;      // N
  int64_t positions = 0;  // of one output image
  int32_t filters = 0;    // K
  // valid and window_sum are (window_batch, oD, oH, oW, window_channels).
  int64_t window_batch = 1;
  int32_t window_channels = 1;
  int64_t window_size = 1;  // W
  bool soft = false;        // window sums are in the accumulator's type, else int32
  Normalization normalization = Normalization::kRatio;
  bool bias_from_all = false;  // invalid outputs hold the bias, and count in its gradient

  constexpr int64_t rows() const { return batch * positions; }
  constexpr int64_t windows() const { return window_batch * positions * window_channels; }
  constexpr int32_t filters_per_window() const { return filters / window_channels; }
};

// Pointers are to device memory (host memory in the emulation).
struct ScaleGradArguments {
  ScaleGradProblem problem;
  DType dtype = DType::kFloat32;     // of grad, scaled and grad_bias
  const void* grad = nullptr;        // (N, oD, oH, oW, K); read where it counts
  const uint8_t* valid = nullptr;    // non-zero = valid
  const void* window_sum = nullptr;  // as valid
  void* scaled = nullptr;            // as grad
  void* grad_bias = nullptr;         // (K), or null
  void* partial_sums = nullptr;      // accumulators (ScaleGradParams::row_blocks, K); null without grad_bias
};

struct ScaleGradParams : ScaleGradArguments {
  int32_t vector = 1;           // elements a thread loads and stores at once
  int32_t threads_per_row = 1;  // a power of two, so that shuffles reduce over the rows of a warp
  int32_t column_blocks = 0;
  int64_t row_blocks = 0;
  int64_t rows_per_block = 0;

  constexpr int64_t blocks() const { return row_blocks * column_blocks; }
  // Of the second kernel, a lane a filter.
  constexpr int32_t bias_blocks() const { return (problem.filters + 31) / 32; }
};

constexpr int32_t kScaleGradThreads = 256;
// Rows whose loads a thread has in flight together: enough bytes to hide the latency of memory.
constexpr int32_t kScaleGradUnroll = 4;
// Blocks a column of partial sums is cut into at most: as many as the largest GPUs hold at once, and little
// to add up. A constant, so that the order of the sums is one on every GPU.
constexpr int64_t kScaleGradMaxRowBlocks = 1024;

inline ScaleGradParams make_scale_grad_params(const ScaleGradArguments& arguments) {
  const ScaleGradProblem& problem = arguments.problem;
  const auto begins =
      reinterpret_cast<uintptr_t>(arguments.grad) | reinterpret_cast<uintptr_t>(arguments.scaled);
  const bool aligned = begins % kVectorBytes == 0;
  const int32_t widest = kVectorBytes / element_bytes(arguments.dtype);
  ScaleGradParams params{arguments};
  params.vector = aligned && problem.filters_per_window() % widest == 0 ? widest : 1;
  const int32_t vectors = problem.filters / params.vector;
  while (params.threads_per_row < std::min(vectors, 32)) params.threads_per_row *= 2;
  params.column_blocks = (vectors + params.threads_per_row - 1) / params.threads_per_row;
  const int64_t at_once = kScaleGradThreads / params.threads_per_row * int64_t{kScaleGradUnroll};
  const int64_t steps = (problem.rows() + at_once - 1) / at_once;
  params.rows_per_block =
      std::max<int64_t>(1, (steps + kScaleGradMaxRowBlocks - 1) / kScaleGradMaxRowBlocks) * at_once;
  params.row_blocks = (problem.rows() + params.rows_per_block - 1) / params.rows_per_block;
  return params;
}

}  // namespace maskconv
