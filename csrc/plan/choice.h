// Which kernel runs a pass: the choice among its candidates, remembered. Listing them takes some
// microseconds, as long as a launch, and a training step asks three times a layer.
#pragma once

#include <cstddef>

#include "plan/candidates.h"

namespace maskconv {

enum class Pass : int32_t { kForward, kGradInput, kGradWeight };

// `aligned` and `window_channels` as of the candidates' lists.
Candidates candidates_of(Pass pass, const ConvProblem& problem, DType dtype, bool aligned,
                         const DeviceProperties& device, int32_t window_channels = 1);

// What `choose` takes of these for `wanted`, with its exceptions. Safe to call from any thread.
Candidate choice_of(Pass pass, const ConvProblem& problem, DType dtype, bool aligned,
                    const DeviceProperties& device, int32_t window_channels = 1,
                    const std::string& wanted = {});

// Choices that the calling thread remembers.
size_t remembered_choices();

}  // namespace maskconv
