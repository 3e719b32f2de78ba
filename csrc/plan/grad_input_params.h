// What a grad_input launch is given: the gradient of the accumulator for the input.
#pragma once

#include <cstdint>

#include "plan/gemm_params.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation), laid out as the problem says.
struct GradInputArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of grad, weight and grad_input
  const void* grad = nullptr;     // (N, oD, oH, oW, K)
  const uint8_t* valid =
      nullptr;  // (window_batch, oD, oH, oW): grad is read where non-zero; null = everywhere
  const uint8_t* mask = nullptr;  // (mask_batch, D, H, W), non-zero = valid; null with mask_batch 0
  const void* weight = nullptr;   // (K, kD, kH, kW, C / groups)
  void* grad_input = nullptr;     // (N, D, H, W, C)
};

// Rows are input positions, the source is grad. With a stride, only some taps lead from a position to an
// output; positions a stride apart share them. Such a class holds the positions first, first + stride, ... of
// each axis, `first` being below class_count; a tile has rows of one class.
struct GradInputParams : GemmParams {
  const uint8_t* mask = nullptr;
  int32_t class_count[kAxes] = {1, 1, 1};
  uint32_t classes = 1;  // of all axes together
};

constexpr int32_t class_count(const ConvProblem& problem, int axis) {
  return problem.stride[axis] < problem.input[axis] ? problem.stride[axis] : problem.input[axis];
}

// Positions of a class along one axis.
constexpr int32_t class_extent(const ConvProblem& problem, int axis, int32_t first) {
  return (problem.input[axis] - 1 - first) / problem.stride[axis] + 1;
}

}  // namespace maskconv
