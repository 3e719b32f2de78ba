// What a grad_input launch is given.
#pragma once

#include <cstdint>

#include "plan/gemm_params.h"
#include "plan/output_gradient.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation), laid out as the problem says.
struct GradInputArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of the gradients and weight
  OutputGradient gradient;
  const uint8_t* mask = nullptr;        // (mask_batch, D, H, W), non-zero = valid; null with mask_batch 0
  const void* weight = nullptr;         // (K, kD, kH, kW, C / groups)
  void* grad_input = nullptr;           // (N, D, H, W, C)
  const uint32_t* row_order = nullptr;  // (N * D * H * W), or null
};

// Rows are input positions, the source is grad. With a stride, only some taps lead from a position to an
// output; positions a stride apart share them. Such a class holds the positions first, first + stride, ... of
// each axis, `first` being below class_count; a tile has rows of one class. With a row order tiles know
// one class of all positions: the order keeps those of different ones apart.
struct GradInputParams : GemmParams {
  const uint8_t* mask = nullptr;
  const void* scale = nullptr;  // of the source, as source_valid; null: 1
  int32_t class_stride[kAxes] = {1, 1, 1};
  int32_t class_count[kAxes] = {1, 1, 1};
  uint32_t classes = 1;  // of all axes together
};

// Along one axis of `size` positions: the classes, and the positions of one.
constexpr int32_t class_count(int32_t size, int32_t stride) { return stride < size ? stride : size; }
constexpr int32_t class_extent(int32_t size, int32_t stride, int32_t first) {
  return (size - 1 - first) / stride + 1;
}

}  // namespace maskconv
