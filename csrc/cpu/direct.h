// The forward, plane by plane, without tiles of rows: for layers with so few channels that a position has
// next to nothing to multiply. Lines of outputs stay in registers while the taps pass by.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/engine.h"

namespace maskconv::cpu {

bool can_direct(const ConvProblem& problem, DType dtype, const MaskView& mask);
// Whether it is expected to be fastest.
bool prefers_direct(const ConvProblem& problem, DType dtype, const MaskView& mask);

// As `forward`, of x (N, C, D, H, W) and weight (K, C / groups, kD, kH, kW), contiguous. The positions of
// out.y are contiguous too.
void forward_direct(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                    const void* x, const void* weight, const void* bias, const std::vector<uint8_t>& valid,
                    const ForwardOutput& out);

}  // namespace maskconv::cpu
