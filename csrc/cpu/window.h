// Window sums, and what follows from them: which output positions are valid, and the output mask.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/engine.h"

namespace maskconv::cpu {

// Fills out.window_sum and out.out_mask, and returns valid(q), a byte for each window sum.
std::vector<uint8_t> compute_window(const Runtime& runtime, const ConvProblem& problem, DType dtype,
                                    const MaskView& mask, const ForwardOutput& out);

}  // namespace maskconv::cpu
