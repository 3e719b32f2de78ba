// What the CPU and the CUDA kernels of the gradients share: checked arguments in the engines' layout.
#pragma once

#include "ops/arguments.h"
#include "plan/output_gradient.h"

namespace maskconv::ops {

// What the gradient of the accumulator is made of.
struct Gradient {
  Gradient(const Tensor& grad, const std::optional<Tensor>& valid, const std::optional<Tensor>& scale,
           const ConvArguments& arguments, const ConvProblem& problem, const Mask& mask);

  OutputGradient view() const;

  Tensor grad;                         // (N, *O, K)
  std::optional<Tensor> valid, scale;  // (window_batch, *O, Gw)
  int32_t window_channels;             // Gw
};

struct GradInputCall {
  GradInputCall(const Tensor& grad, const std::optional<Tensor>& valid, const std::optional<Tensor>& scale,
                const std::optional<Tensor>& mask, const Tensor& weight, const ConvArguments& arguments,
                const Sizes& mask_channels);

  // The result as the caller wants it.
  Tensor result(bool channels_last) const { return channels_last ? grad_input : to_contiguous(grad_input); }

  ConvProblem problem;
  Tensor grad_input;  // (N, C, *S), stored as (N, *S, C)
  Mask mask;
  std::optional<Gradient> gradient;  // none of an empty batch: there is nothing to do
  Tensor weight;                     // (K, *R, C / groups)
};

struct GradWeightCall {
  GradWeightCall(const Tensor& grad, const std::optional<Tensor>& valid, const std::optional<Tensor>& scale,
                 const Tensor& input, const std::optional<Tensor>& mask, const ConvArguments& arguments,
                 const Sizes& mask_channels);

  // The result as the caller wants it, with zeros for an empty batch.
  Tensor result() const { return to_contiguous(gradient ? grad_weight : zeros()); }

  ConvProblem problem;
  Tensor grad_weight;  // (K, C / groups, *R), stored as (K, *R, C / groups)
  Mask mask;
  std::optional<Gradient> gradient;  // none of an empty batch: there is nothing to sum

 private:
  Tensor zeros() const {
    Tensor result = grad_weight;
    return torch::stable::zero_(result);
  }
};

}  // namespace maskconv::ops
