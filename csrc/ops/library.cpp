// Schemas of the operators. Their kernels are registered in the file of the same stem; shapes for tracing,
// and gradients in maskconv_ext/operators/.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(maskconv_ext, library) {
  // The whole masked convolution: output, output mask, window sum. `fill` None stands for the bias.
  // `allow_tf32`: where tensor cores multiply float32, they may round the factors to TF32. A row order
  // (csrc/plan/row_order.h) makes no difference to the results, and is None on the CPU. It must be a
  // permutation, which nothing checks: of others some rows are not written, but no other memory is touched.
  // That of grad_input is for the backward.
  // `weight_sum` (window_batch, K, *O), in float32 or, for float64, float64: sums of weight * mask, one a
  // filter and window, which normalization="weight" divides by; where it is 0 an output is not valid.
  // `candidate` names one of the ways to compute it, "" the one expected to be fastest.
  library.def(
      "forward(Tensor input, Tensor? mask, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, int groups, int[] mask_channels, str normalization, str mask_update, float "
      "threshold, "
      "float? fill, bool pad_is_valid, bool channels_last, bool allow_tf32, Tensor? row_order=None, "
      "Tensor? grad_input_row_order=None, Tensor? weight_sum=None, str candidate=\"\") -> (Tensor, Tensor, "
      "Tensor)");
  // The gradient of the output summed over all positions, or those that are `valid`: that of the bias.
  library.def("grad_bias(Tensor grad, Tensor? valid) -> Tensor");
  // a * b where the mask is not 0, else 0, summed over the channels that each of the mask covers: in the type
  // of sums, (N, Cm, *S). Where the mask is 0 neither is read.
  library.def("channel_dot(Tensor a, Tensor b, Tensor mask, int[] mask_channels) -> Tensor");
  // (input where m != 0, else 0) * m in its place, of a soft mask; no gradient goes through it.
  library.def("select_(Tensor(a!) input, Tensor mask, int[] mask_channels) -> ()");
  // Through the accumulator a, whose gradient is scale * grad where `valid`, else 0: grad is read nowhere
  // else. `scale` is in the type of sums, shaped as `valid`, and 0 where that is false; None stands for 1.
  library.def(
      "grad_input(Tensor grad, Tensor? valid, Tensor? scale, Tensor? mask, Tensor weight, SymInt[] "
      "input_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, int groups, int[] mask_channels, "
      "bool channels_last, bool allow_tf32, Tensor? row_order=None, str candidate=\"\") -> Tensor");
  library.def(
      "grad_weight(Tensor grad, Tensor? valid, Tensor? scale, Tensor input, Tensor? mask, SymInt[] "
      "weight_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, int groups, int[] mask_channels, "
      "bool allow_tf32, str candidate=\"\") -> Tensor");
  // What the planner knows of a pass on CUDA: a line a candidate (plan/candidates.h). `device` has the
  // numbers of a DeviceProperties, or none for the current device. `aligned`: the tensors start on 16-byte
  // boundaries.
  library.def(
      "candidates(str pass_name, SymInt[] input_size, SymInt[] weight_size, SymInt[] stride, SymInt[] "
      "padding, "
      "SymInt[] dilation, int groups, int mask_batch, int window_channels, str dtype, bool allow_tf32, "
      "float[] device, bool weight_sums=False, bool aligned=True) -> str");
  library.def(
      "cpu_route(SymInt[] input_size, SymInt[] weight_size, SymInt[] stride, SymInt[] padding, SymInt[] "
      "dilation, int groups, bool shared_mask, bool whole, bool weight_sums, bool channels_last, str dtype) "
      "-> str");
  // What layers with this mask (batch or 1, 1, *S) and geometry take as row_order; for CUDA.
  library.def(
      "forward_row_order(Tensor mask, SymInt batch, SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, str mask_update, float threshold, bool pad_is_valid) -> Tensor");
  library.def(
      "grad_input_row_order(Tensor valid, Tensor mask, SymInt batch, SymInt[] kernel_size, SymInt[] stride, "
      "SymInt[] padding, SymInt[] dilation) -> Tensor");
  // What the library was compiled with, as JSON.
  library.def("build_info() -> str");
}
