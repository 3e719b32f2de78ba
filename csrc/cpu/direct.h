// Convolution of planes without matrix products: for layers with so few channels that a GEMM has next to
// nothing to multiply at a position, and for which the framework has no kernel.
#pragma once

#include <cstdint>

#include "cpu/engine.h"

namespace maskconv::cpu {

// Whether it is expected to be faster than the framework's convolution.
bool prefers_direct(const ConvProblem& problem, DType dtype);

// y (N, K, oD * oH * oW) = sums of x (N, C, D, H, W) times weight (K, C / groups, kD, kH, kW), all contiguous
// and in float32 or float64, without mask or epilogue. What lies outside the image counts 0.
void convolve_direct(const Runtime& runtime, const ConvProblem& problem, DType dtype, const void* x,
                     const void* weight, void* y);

}  // namespace maskconv::cpu
