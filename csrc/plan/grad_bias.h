// The gradient of the bias as plain data: that of the output, summed over its rows.
#pragma once

#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/row_blocks.h"

namespace maskconv {

struct GradBiasProblem {
  int64_t batch = 0;      // N
  int64_t positions = 0;  // of one output image
  int32_t filters = 0;    // K
  // valid is (window_batch, oD, oH, oW, window_channels).
  int64_t window_batch = 1;
  int32_t window_channels = 1;

  constexpr int64_t rows() const { return batch * positions; }
  constexpr int32_t filters_per_window() const { return filters / window_channels; }
};

// Pointers are to device memory (host memory in the emulation).
struct GradBiasArguments {
  GradBiasProblem problem;
  DType dtype = DType::kFloat32;   // of grad and grad_bias
  const void* grad = nullptr;      // (N, oD, oH, oW, K); read where it counts
  const uint8_t* valid = nullptr;  // grad counts where non-zero; null = everywhere
  void* grad_bias = nullptr;       // (K)
  void* partial_sums = nullptr;    // accumulators (RowBlocks::row_blocks, K)
};

struct GradBiasParams : GradBiasArguments, RowBlocks {
  // Of the second kernel, a lane a filter.
  constexpr int32_t bias_blocks() const { return (problem.filters + 31) / 32; }
};

inline GradBiasParams make_grad_bias_params(const GradBiasArguments& arguments) {
  const GradBiasProblem& problem = arguments.problem;
  const int32_t vector =
      row_vector(arguments.dtype, problem.filters_per_window(), reinterpret_cast<uintptr_t>(arguments.grad));
  return {arguments, cut_rows(problem.rows(), problem.filters, vector)};
}

}  // namespace maskconv
