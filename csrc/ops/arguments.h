// From an operator's arguments to a ConvProblem. The public functions have checked the call already; what is
// checked here is what memory safety needs, for those who call the operators themselves.
#pragma once

#include <string>

#include "cpu/engine.h"
#include "ops/tensors.h"
#include "plan/conv_problem.h"

namespace maskconv::ops {

// The arguments that all operators share: sizes are (N, C, *S) and (K, C / groups, *R), padding is
// (before, after) for each axis.
struct ConvArguments {
  Sizes input_size;
  Sizes weight_size;
  Sizes stride;
  Sizes padding;
  Sizes dilation;
  int64_t groups;
  bool allow_tf32;
};

// Everything but the mask, the normalisation and the fill.
ConvProblem make_problem(const ConvArguments& arguments);

// Of operators that go position by position, in terms of a convolution: its batch, channels and input.
ConvProblem make_pointwise_problem(const Sizes& input_size);

// (N, K, *O).
Sizes output_size(const ConvArguments& arguments);

Normalization parse_normalization(const std::string& name);
MaskUpdate parse_mask_update(const std::string& name);

// A mask in the layout and type the CPU engine reads, and the tensor that keeps its memory.
struct Mask {
  Tensor storage;
  cpu::MaskView view;
  bool soft() const { return view.kind == cpu::MaskKind::kSoft; }
};

// Checks the mask (N or 1, Cm, *S) against the problem, whose mask_batch it sets. `parts` counts the input
// channels of each mask channel; with one part, or none, the mask is shared.
Mask make_mask(const std::optional<Tensor>& mask, const Tensor& input, const Sizes& parts,
               ConvProblem& problem);

// Throws, listing what there is, unless `candidate` is one of these or empty.
void check_candidate(const std::string& candidate, const std::vector<std::string>& known);

// An array (N, C, *S) as the CPU engine reads it: where it lies, if its channels or its positions are
// contiguous.
cpu::Strides strides_of(int64_t positions, int64_t channels, bool channels_last);

// Of the CPU engine, which has no tiles of rows.
inline void check_no_row_order(const std::optional<Tensor>& row_order) {
  STD_TORCH_CHECK(!row_order, "maskconv_ext: row_order: got a tensor, needs None on the CPU");
}

}  // namespace maskconv::ops
