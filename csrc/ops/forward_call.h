// What the CPU and the CUDA kernel of maskconv_ext::forward share: the problem, and all but the large
// tensors.
#pragma once

#include <string>

#include "ops/arguments.h"

namespace maskconv::ops {

struct ForwardCall {
  ForwardCall(const Tensor& input, const std::optional<Tensor>& mask, const Tensor& weight,
              const std::optional<Tensor>& bias, const ConvArguments& arguments, const Sizes& mask_channels,
              const std::string& normalization, const std::string& mask_update, double threshold,
              std::optional<double> fill, bool pad_is_valid, const std::optional<Tensor>& weight_sum);

  // The element type that the engine writes for the output mask, before public_out_mask converts it.
  cpu::MaskElement out_mask_element() const;
  // In the dtype that callers get: the mask's own, or float32 where a soft rule met a hard mask.
  Tensor public_out_mask(const std::optional<Tensor>& mask) const;

  const void* bias_data() const { return bias ? bias->data_ptr() : nullptr; }
  // Null if there are none; in the layout the engine asked for.
  const void* weight_sum_data() const { return weight_sum ? weight_sum->data_ptr() : nullptr; }
  void lay_out_weight_sum(bool channels_last);

  ConvProblem problem;
  int64_t window_batch;  // images of the window sum: the mask's, 1 without a mask
  Sizes output_size;
  std::optional<Tensor> bias;
  std::optional<Tensor> weight_sum;  // (window_batch, K, *O), of accumulators
  Mask mask;
  Tensor out_mask, window_sum;  // (window_batch, Gw, *O), in the engine's layout
};

}  // namespace maskconv::ops
