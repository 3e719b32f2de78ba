// maskconv_ext::grad_input and maskconv_ext::grad_weight on the CPU.
#include "ops/arguments.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

// The gradient and where it counts, in the engines' layout.
struct Gradient {
  Gradient(const Tensor& grad, const std::optional<Tensor>& valid, const ConvArguments& arguments,
           const ConvProblem& problem, const Mask& mask)
      : grad(to_engine_layout(grad)) {
    const Sizes expected = output_size(arguments);
    STD_TORCH_CHECK(sizes_of(grad) == expected, "maskconv_ext: grad: needs the shape of the output");
    STD_TORCH_CHECK(!mask.soft(), "maskconv_ext: mask: got a floating mask, needs a bool or uint8 one");
    if (!valid) return;
    STD_TORCH_CHECK(valid->scalar_type() == ScalarType::Bool &&
                        valid->numel() ==
                            problem.window_batch() * problem.output_positions() * mask.view.window_channels &&
                        valid->size(0) == problem.window_batch() && valid->dim() == grad.dim(),
                    "maskconv_ext: valid: needs bool, in the shape of the window sum");
    this->valid = to_engine_layout(*valid);
  }
  const uint8_t* valid_data() const {
    return valid ? static_cast<const uint8_t*>(valid->data_ptr()) : nullptr;
  }

  Tensor grad;
  std::optional<Tensor> valid;
};

Tensor grad_input_cpu(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> mask, Tensor weight,
                      Sizes input_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                      Sizes mask_channels, bool channels_last) {
  const ConvArguments arguments{input_size, sizes_of(weight), stride, padding, dilation, groups};
  ConvProblem problem = make_problem(arguments);
  STD_TORCH_CHECK(weight.scalar_type() == grad.scalar_type(),
                  "maskconv_ext: weight: needs the dtype of grad");
  const Tensor result = empty_beside(grad, input_size, grad.scalar_type(), true);
  const Mask m = make_mask(mask, result, mask_channels, problem);
  if (problem.batch == 0) return channels_last ? result : torch::stable::contiguous(result);
  const Gradient gradient(grad, valid, arguments, problem, m);
  const Tensor w = to_engine_layout(weight);
  cpu::grad_input(cpu_runtime(), problem, dtype_of(grad), m.view, gradient.grad.data_ptr(), w.data_ptr(),
                  gradient.valid_data(), result.data_ptr());
  return channels_last ? result : torch::stable::contiguous(result);
}

Tensor grad_weight_cpu(Tensor grad, std::optional<Tensor> valid, Tensor input, std::optional<Tensor> mask,
                       Sizes weight_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                       Sizes mask_channels) {
  const ConvArguments arguments{sizes_of(input), weight_size, stride, padding, dilation, groups};
  ConvProblem problem = make_problem(arguments);
  STD_TORCH_CHECK(input.scalar_type() == grad.scalar_type(), "maskconv_ext: input: needs the dtype of grad");
  const Mask m = make_mask(mask, input, mask_channels, problem);
  Tensor result = empty_beside(grad, weight_size, grad.scalar_type(), true);
  if (problem.batch == 0) return torch::stable::contiguous(torch::stable::zero_(result));
  const Gradient gradient(grad, valid, arguments, problem, m);
  const Tensor x = to_engine_layout(input);
  cpu::grad_weight(cpu_runtime(), problem, dtype_of(grad), m.view, gradient.grad.data_ptr(), x.data_ptr(),
                   gradient.valid_data(), result.data_ptr());
  return torch::stable::contiguous(result);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) {
  library.impl("grad_input", TORCH_BOX(&grad_input_cpu));
  library.impl("grad_weight", TORCH_BOX(&grad_weight_cpu));
}

}  // namespace maskconv::ops
