// Which of the engine's ways computes a forward.
#pragma once

#include "cpu/engine.h"

namespace maskconv::cpu {

// Rows: the valid ones, tile by tile. Dense: the framework's convolution, and its borders (engine.h). Direct:
// plane by plane (direct.h).
enum class Route { kRows, kDense, kDirect };

// `weight_sums`: ForwardOutput::weight_sum is given.
bool can_dense(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums);

// The one expected to be fastest. `channels_last`: so input and output lie.
Route expected_route(const ConvProblem& problem, DType dtype, const MaskView& mask, bool weight_sums,
                     bool channels_last);

}  // namespace maskconv::cpu
