// What the CUDA operators do about masks of any kind, around their kernels: count the windows, select.
#pragma once

#include "ops/forward_call.h"
#include "plan/channel_mask.h"
#include "plan/windows.h"

namespace maskconv::ops {

ChannelMask channel_mask(const Mask& mask);

// Where a mask shared by all channels is not 0, as bytes in the engines' layout; none of any other.
std::optional<Tensor> shared_hard_mask(const Mask& mask);

// The windows of a call, and the tensors behind them.
struct CountedWindows {
  Tensor valid;         // (window_batch, *O, Gw), uint8; the call's output mask, unless that is soft
  Tensor channel_sums;  // (mask_batch * positions, Gw): the mask summed over channels; empty if it is shared
  Windows windows;
};

// Fills in the call's window sum and output mask too.
CountedWindows count_windows_cuda(const ForwardCall& call, const Tensor& input);

// (input where m != 0, else 0) * m, stored (N, *S, C); the layout of `input` is converted on the way.
Tensor select_cuda(const ConvProblem& problem, const Mask& mask, const Tensor& input);
// The same in place, of a tensor stored so.
void select_in_place_cuda(const ConvProblem& problem, const Mask& mask, const Tensor& input);

}  // namespace maskconv::ops
