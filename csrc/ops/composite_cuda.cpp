#ifdef MASKCONV_WITH_CUDA

#include "ops/composite_cuda.h"

#include <algorithm>

#include "launch/finish.h"
#include "ops/convolve.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"

namespace maskconv::ops {

namespace {

Tensor selected(const ConvProblem& problem, const Mask& mask, const Tensor& input) {
  return mask.view.kind == cpu::MaskKind::kNone ? input : select_cuda(problem, mask, input);
}

// That of the accumulator, scale * grad where valid, else 0: to the outputs the scale is what a soft mask is
// to the input. (N, K, *O), stored (N, *O, K).
Tensor accumulator_gradient(const Gradient& gradient, const ConvProblem& problem) {
  ConvProblem outputs = problem;
  outputs.channels = problem.filters;
  std::copy_n(problem.output, kAxes, outputs.input);
  outputs.mask_batch = problem.window_batch();
  Mask mask;
  if (gradient.valid) {
    mask.storage = gradient.scale ? *gradient.scale : *gradient.valid;
    mask.view.kind = gradient.scale ? cpu::MaskKind::kSoft : cpu::MaskKind::kHard;
    mask.view.data = mask.storage.data_ptr();
    mask.view.channels = gradient.window_channels;
    const int32_t filters = problem.filters / gradient.window_channels;
    for (int32_t i = 0; i < gradient.window_channels; ++i)
      mask.view.parts.push_back({i, i * filters, filters});
  }
  return selected(outputs, mask, gradient.grad);
}

}  // namespace

Tensor forward_composite_cuda(const ForwardCall& call, const ConvArguments& arguments, const Tensor& input,
                              const Tensor& weight) {
  const CountedWindows counted = count_windows_cuda(call, input);
  const Tensor x = selected(call.problem, call.mask, input);
  const Tensor output = to_engine_layout(convolve(x, weight, std::nullopt, arguments));

  FinishArguments finish;
  finish.problem = call.problem;
  finish.dtype = dtype_of(input);
  finish.windows = counted.windows;
  finish.weight_sum = call.weight_sum_data();
  finish.bias = call.bias_data();
  finish.y = output.data_ptr();
  launch_finish(finish, current_stream(input));
  return output;
}

Tensor grad_input_composite_cuda(const GradInputCall& call, const ConvArguments& arguments,
                                 const Tensor& weight) {
  const Tensor gradient = accumulator_gradient(*call.gradient, call.problem);
  const Tensor grad_input =
      to_engine_layout(convolve_grad_input(gradient, call.grad_input, weight, arguments));
  if (call.mask.view.kind != cpu::MaskKind::kNone) select_in_place_cuda(call.problem, call.mask, grad_input);
  return grad_input;
}

Tensor grad_weight_composite_cuda(const GradWeightCall& call, const ConvArguments& arguments,
                                  const Tensor& input) {
  const Tensor gradient = accumulator_gradient(*call.gradient, call.problem);
  return convolve_grad_weight(gradient, selected(call.problem, call.mask, input), call.grad_weight,
                              arguments);
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
