// Schemas of the operators. Their kernels are registered in the file of the same stem; shapes for tracing,
// and gradients in maskconv_ext/operators.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(maskconv_ext, library) {
  // The whole masked convolution: output, output mask, window sum. `fill` None stands for the bias.
  library.def(
      "forward(Tensor input, Tensor? mask, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, int groups, int[] mask_channels, str normalization, str mask_update, float "
      "threshold, "
      "float? fill, bool pad_is_valid, bool channels_last) -> (Tensor, Tensor, Tensor)");
  // From the gradient of the output to that of the accumulator a, scale(window_sum) * grad where `valid`,
  // else 0, with the channels last in memory; and the gradient of the bias, of no elements unless it is
  // needed.
  library.def(
      "scale_grad(Tensor grad, Tensor valid, Tensor window_sum, SymInt window_size, str normalization, "
      "bool needs_bias, bool bias_from_all) -> (Tensor, Tensor)");
  // Gradients of the accumulator a, for a hard mask; `grad` is read only where `valid`.
  library.def(
      "grad_input(Tensor grad, Tensor? valid, Tensor? mask, Tensor weight, SymInt[] input_size, SymInt[] "
      "stride, "
      "SymInt[] padding, SymInt[] dilation, int groups, int[] mask_channels, bool channels_last) -> Tensor");
  library.def(
      "grad_weight(Tensor grad, Tensor? valid, Tensor input, Tensor? mask, SymInt[] weight_size, SymInt[] "
      "stride, "
      "SymInt[] padding, SymInt[] dilation, int groups, int[] mask_channels) -> Tensor");
  // What the planner knows of a pass on CUDA: a line a candidate (plan/candidates.h). `device` has the numbers
  // of a DeviceProperties, or none for the current device.
  library.def(
      "candidates(str pass_name, SymInt[] input_size, SymInt[] weight_size, SymInt[] stride, SymInt[] padding, "
      "SymInt[] dilation, int groups, int mask_batch, str dtype, float[] device) -> str");
  library.def(
      "cpu_dense_share(SymInt[] input_size, SymInt[] weight_size, SymInt[] stride, SymInt[] padding, SymInt[] "
      "dilation, int groups, str dtype) -> float");
  // What the library was compiled with, as JSON.
  library.def("build_info() -> str");
}
