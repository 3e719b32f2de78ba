// maskconv_ext::grad_bias: the output's gradient, read once, and summed.
#include <algorithm>

#include "ops/arguments.h"
#include "ops/runtime.h"
#ifdef MASKCONV_WITH_CUDA
#include "launch/grad_bias.h"
#include "ops/cuda_stream.h"
#endif

namespace maskconv::ops {

namespace {

// The problem, and all tensors but the large one.
struct GradBiasCall {
  GradBiasCall(const Tensor& grad, const std::optional<Tensor>& valid) {
    STD_TORCH_CHECK(grad.dim() >= 3 && grad.dim() <= 2 + kAxes, "maskconv_ext: grad: got ", grad.dim(),
                    " dimensions, needs 3, 4 or 5");
    const Sizes size = sizes_of(grad);
    problem.batch = size[0];
    problem.positions = 1;
    for (size_t axis = 2; axis < size.size(); ++axis) problem.positions *= size[axis];
    problem.filters = static_cast<int32_t>(size[1]);
    grad_bias = torch::stable::new_empty(grad, {size[1]});
    if (!valid) {
      problem.window_batch = size[0];
      return;
    }
    check_device(*valid, grad, "valid");
    const Sizes window = sizes_of(*valid);
    STD_TORCH_CHECK(valid->scalar_type() == ScalarType::Bool && window.size() == size.size() &&
                        std::equal(size.begin() + 2, size.end(), window.begin() + 2) &&
                        (window[0] == 1 || window[0] == size[0]) && window[1] >= 1 &&
                        size[1] % window[1] == 0,
                    "maskconv_ext: valid: needs bool, (N or 1, groups or 1, *O)");
    problem.window_batch = window[0];
    problem.window_channels = static_cast<int32_t>(window[1]);
    this->valid = to_engine_layout(*valid);
  }

  const uint8_t* valid_data() const {
    return valid ? static_cast<const uint8_t*>(valid->data_ptr()) : nullptr;
  }

  GradBiasProblem problem;
  std::optional<Tensor> valid;
  Tensor grad_bias;
};

Tensor grad_bias_cpu(Tensor grad, std::optional<Tensor> valid) {
  const GradBiasCall call(grad, valid);
  const GradBiasProblem& problem = call.problem;
  const bool channels_last = is_channels_last(grad);  // either layout is read as it is
  const Tensor from = channels_last ? grad : to_contiguous(grad);
  const cpu::Strides strides = strides_of(problem.positions, problem.filters, channels_last);
  cpu::grad_bias(cpu_runtime(), problem, dtype_of(grad), from.data_ptr(), strides, call.valid_data(),
                 call.grad_bias.data_ptr());
  return call.grad_bias;
}

#ifdef MASKCONV_WITH_CUDA

Tensor grad_bias_cuda(Tensor grad, std::optional<Tensor> valid) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const GradBiasCall call(grad, valid);
  const Tensor from = to_engine_layout(grad);
  GradBiasArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(grad);
  arguments.grad = from.data_ptr();
  arguments.valid = call.valid_data();
  arguments.grad_bias = call.grad_bias.data_ptr();
  const ScalarType sums = arguments.dtype == DType::kFloat64 ? ScalarType::Double : ScalarType::Float;
  const Tensor partial = torch::stable::new_empty(grad, {grad_bias_partial_sums(arguments)}, sums);
  arguments.partial_sums = partial.data_ptr();
  launch_grad_bias(arguments, current_stream(grad));
  return call.grad_bias;
}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) {
  library.impl("grad_bias", TORCH_BOX(&grad_bias_cpu));
}

#ifdef MASKCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("grad_bias", TORCH_BOX(&grad_bias_cuda));
}
#endif

}  // namespace maskconv::ops
