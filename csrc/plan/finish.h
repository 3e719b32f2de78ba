// What follows a convolution that only summed: y = scale(s) * a + b where valid, else fill, in place.
#pragma once

#include <cstdint>

#include "plan/conv_problem.h"
#include "plan/row_blocks.h"
#include "plan/windows.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation).
struct FinishArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of bias and y
  Windows windows;
  const void* weight_sum = nullptr;  // as that of ForwardArguments, or null
  const void* bias = nullptr;        // (K), or null
  void* y = nullptr;                 // (N, oD, oH, oW, K): sums a before, results after
};

struct FinishParams : FinishArguments, RowBlocks {};  // rows are output positions, columns filters

inline FinishParams make_finish_params(const FinishArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  const auto begins =
      reinterpret_cast<uintptr_t>(arguments.y) | reinterpret_cast<uintptr_t>(arguments.weight_sum);
  const int32_t vector = row_vector(arguments.dtype, problem.filters / arguments.windows.channels, begins);
  return {arguments, cut_rows(problem.rows(), problem.filters, vector)};
}

}  // namespace maskconv
