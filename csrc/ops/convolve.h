// The framework's own convolution.
#pragma once

#include "ops/arguments.h"

namespace maskconv::ops {

// Of `input`, (N, C, *S) in any layout, as the geometry says, without bias.
Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                const ConvArguments& arguments);

// Its gradients, where `grad` is that of its result. The tensor whose gradient it is says only how that is
// shaped and laid out: what is in it does not matter.
Tensor convolve_grad_input(const Tensor& grad, const Tensor& input, const Tensor& weight,
                           const ConvArguments& arguments);
Tensor convolve_grad_weight(const Tensor& grad, const Tensor& input, const Tensor& weight,
                            const ConvArguments& arguments);

}  // namespace maskconv::ops
