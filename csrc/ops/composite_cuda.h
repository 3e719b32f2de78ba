// The composite candidates on CUDA: the framework's convolution between passes of ours, which take two passes
// over memory more than a bare convolution.
#pragma once

#include "ops/forward_call.h"
#include "ops/gradient_call.h"

namespace maskconv::ops {

// Select, convolve, finish: the sums are rounded to the output's type before they are scaled. Any mask, or
// none; fills in the call's window sum and output mask. Returns (N, K, *O), stored (N, *O, K).
Tensor forward_composite_cuda(const ForwardCall& call, const ConvArguments& arguments, const Tensor& input,
                              const Tensor& weight);

// Scale, convolve, select: the scaled gradient is rounded to its type. Returns (N, C, *S), stored (N, *S, C).
Tensor grad_input_composite_cuda(const GradInputCall& call, const ConvArguments& arguments,
                                 const Tensor& weight);

// Scale and select, convolve. Returns (K, C / groups, *R).
Tensor grad_weight_composite_cuda(const GradWeightCall& call, const ConvArguments& arguments,
                                  const Tensor& input);

}  // namespace maskconv::ops
