// The framework's own convolution.
#pragma once

#include "ops/arguments.h"

namespace maskconv::ops {

// Of `input`, (N, C, *S) in any layout, as the geometry says, without bias.
Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                const ConvArguments& arguments);

}  // namespace maskconv::ops
