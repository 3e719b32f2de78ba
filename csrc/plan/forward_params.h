// What a forward launch is given.
#pragma once

#include <cstdint>

#include "plan/gemm_params.h"
#include "plan/windows.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation), laid out as the problem says.
struct ForwardArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of input, weight, bias and output
  const void* input = nullptr;    // (N, D, H, W, C)
  const uint8_t* mask = nullptr;  // (mask_batch, D, H, W), non-zero = valid; null with mask_batch 0
  const void* weight = nullptr;   // (K, kD, kH, kW, C / groups)
  const void* bias = nullptr;     // (K), or null
  void* output = nullptr;         // (N, oD, oH, oW, K)
  void* out_mask = nullptr;       // (window_batch, oD, oH, oW): uint8, or float32 for MaskUpdate::kFraction
  int32_t* window_sum = nullptr;  // (window_batch, oD, oH, oW)
  const uint32_t* row_order = nullptr;  // (N * oD * oH * oW), or null
  // The windows, if they were counted before: of a mask that is soft or differs between channels. Then `mask`
  // says only where the input, which is selected already, is not all zeros; out_mask and window_sum are not
  // written. Counted here if `valid` is null.
  Windows given;
  // (window_batch, oD, oH, oW, K) in the accumulator's type, or null: sums of weight * mask over the taps and
  // channels of a window, one for each filter. They divide where Normalization::kWeight asks for it, and an
  // output is valid only where its own is not 0. (A convolution of the mask makes them, of weights that
  // nothing has rounded.)
  const void* weight_sum = nullptr;
};

// Rows are output positions, the source is the input.
struct ForwardParams : GemmParams {
  const void* bias = nullptr;
  void* out_mask = nullptr;
  int32_t* window_sum = nullptr;
  int32_t minimum_sum = 1;  // valid(q) is s >= minimum_sum, except for MaskUpdate::kCenter
  Windows given;
  const void* weight_sum = nullptr;
};

}  // namespace maskconv
