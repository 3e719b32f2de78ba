// The backward's first pass as plain data: from the gradient of the output to that of the accumulator,
// scale(q) * grad where valid(q), else 0, and the gradient of the bias.
#pragma once

#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/row_blocks.h"

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
  void* partial_sums = nullptr;      // accumulators (RowBlocks::row_blocks, K); null without grad_bias
};

struct ScaleGradParams : ScaleGradArguments, RowBlocks {
  // Of the second kernel, a lane a filter.
  constexpr int32_t bias_blocks() const { return (problem.filters + 31) / 32; }
};

inline ScaleGradParams make_scale_grad_params(const ScaleGradArguments& arguments) {
  const ScaleGradProblem& problem = arguments.problem;
  const auto begins =
      reinterpret_cast<uintptr_t>(arguments.grad) | reinterpret_cast<uintptr_t>(arguments.scaled);
  const int32_t vector = row_vector(arguments.dtype, problem.filters_per_window(), begins);
  return {arguments, cut_rows(problem.rows(), problem.filters, vector)};
}

}  // namespace maskconv
