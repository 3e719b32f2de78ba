// The composite candidate of the forward on CUDA.
#pragma once

#include "ops/forward_call.h"

namespace maskconv::ops {

// Select, the framework's convolution, finish: two passes over memory more than a bare convolution, and the
// sums are rounded to the output's type before they are scaled. Any mask, or none; fills in the call's window
// sum and output mask. Returns (N, K, *O), stored (N, *O, K).
Tensor forward_composite_cuda(const ForwardCall& call, const ConvArguments& arguments, const Tensor& input,
                              const Tensor& weight);

}  // namespace maskconv::ops
