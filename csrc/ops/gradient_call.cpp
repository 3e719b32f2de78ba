#include "ops/gradient_call.h"

namespace maskconv::ops {

Gradient::Gradient(const Tensor& grad, const std::optional<Tensor>& valid, const std::optional<Tensor>& scale,
                   const ConvArguments& arguments, const ConvProblem& problem, const Mask& mask)
    : grad(to_engine_layout(grad)), window_channels(mask.view.window_channels) {
  const Sizes expected = output_size(arguments);
  STD_TORCH_CHECK(sizes_of(grad) == expected, "maskconv_ext: grad: needs the shape of the output");
  STD_TORCH_CHECK(valid || !scale, "maskconv_ext: scale: needs valid beside it");
  if (!valid) return;
  check_device(*valid, grad, "valid");
  Sizes window = expected;
  window[0] = problem.window_batch();
  window[1] = window_channels;
  STD_TORCH_CHECK(valid->scalar_type() == ScalarType::Bool && sizes_of(*valid) == window,
                  "maskconv_ext: valid: needs bool, in the shape of the window sum");
  this->valid = to_engine_layout(*valid);
  if (!scale) return;
  check_device(*scale, grad, "scale");
  const ScalarType sums = grad.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(scale->scalar_type() == sums && sizes_of(*scale) == window,
                  "maskconv_ext: scale: needs the type of sums, in the shape of valid");
  this->scale = to_engine_layout(*scale);
}

OutputGradient Gradient::view() const {
  return {grad.data_ptr(), valid ? static_cast<const uint8_t*>(valid->data_ptr()) : nullptr,
          scale ? scale->data_ptr() : nullptr, window_channels};
}

GradInputCall::GradInputCall(const Tensor& grad, const std::optional<Tensor>& valid,
                             const std::optional<Tensor>& scale, const std::optional<Tensor>& mask,
                             const Tensor& weight, const ConvArguments& arguments, const Sizes& mask_channels)
    : problem(make_problem(arguments)),
      grad_input(empty_beside(grad, arguments.input_size, grad.scalar_type(), true)) {
  check_device(weight, grad, "weight");
  STD_TORCH_CHECK(weight.scalar_type() == grad.scalar_type(),
                  "maskconv_ext: weight: needs the dtype of grad");
  this->mask = make_mask(mask, grad_input, mask_channels, problem);
  if (problem.batch > 0) gradient.emplace(grad, valid, scale, arguments, problem, this->mask);
  this->weight = to_engine_layout(weight);
}

GradWeightCall::GradWeightCall(const Tensor& grad, const std::optional<Tensor>& valid,
                               const std::optional<Tensor>& scale, const Tensor& input,
                               const std::optional<Tensor>& mask, const ConvArguments& arguments,
                               const Sizes& mask_channels)
    : problem(make_problem(arguments)),
      grad_weight(empty_beside(grad, arguments.weight_size, grad.scalar_type(), true)) {
  check_device(input, grad, "input");
  STD_TORCH_CHECK(input.scalar_type() == grad.scalar_type(), "maskconv_ext: input: needs the dtype of grad");
  this->mask = make_mask(mask, input, mask_channels, problem);
  if (problem.batch > 0) gradient.emplace(grad, valid, scale, arguments, problem, this->mask);
}

}  // namespace maskconv::ops
