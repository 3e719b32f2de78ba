// maskconv_ext::scale_grad: the first pass of every backward.
#include <algorithm>
#include <limits>

#include "ops/arguments.h"
#include "ops/runtime.h"
#ifdef MASKCONV_WITH_CUDA
#include "launch/scale_grad.h"
#include "ops/cuda_stream.h"
#endif

namespace maskconv::ops {

namespace {

// The problem, and all tensors but the large ones.
struct ScaleGradCall {
  ScaleGradCall(const Tensor& grad, const Tensor& valid, const Tensor& window_sum, int64_t window_size,
                const std::string& normalization, bool needs_bias, bool bias_from_all) {
    STD_TORCH_CHECK(grad.dim() >= 3 && grad.dim() <= 2 + kAxes, "maskconv_ext: grad: got ", grad.dim(),
                    " dimensions, needs 3, 4 or 5");
    check_device(valid, grad, "valid");
    check_device(window_sum, grad, "window_sum");
    const Sizes size = sizes_of(grad), window = sizes_of(valid);
    STD_TORCH_CHECK(valid.scalar_type() == ScalarType::Bool && window.size() == size.size() &&
                        std::equal(size.begin() + 2, size.end(), window.begin() + 2) &&
                        (window[0] == 1 || window[0] == size[0]) && window[1] >= 1 &&
                        size[1] % window[1] == 0,
                    "maskconv_ext: valid: needs bool, (N or 1, groups or 1, *O)");
    const ScalarType soft = grad.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
    STD_TORCH_CHECK(sizes_of(window_sum) == window &&
                        (window_sum.scalar_type() == ScalarType::Int || window_sum.scalar_type() == soft),
                    "maskconv_ext: window_sum: needs the shape of valid, and int32 or the type of sums");
    STD_TORCH_CHECK(window_size >= 1 && window_size <= std::numeric_limits<int32_t>::max(),
                    "maskconv_ext: window_size: got ", window_size, ", needs 1 to 2^31 - 1");
    problem.batch = size[0];
    problem.positions = 1;
    for (size_t axis = 2; axis < size.size(); ++axis) problem.positions *= size[axis];
    problem.filters = static_cast<int32_t>(size[1]);
    problem.window_batch = window[0];
    problem.window_channels = static_cast<int32_t>(window[1]);
    problem.window_size = window_size;
    problem.soft = window_sum.scalar_type() != ScalarType::Int;
    problem.normalization = parse_normalization(normalization);
    problem.bias_from_all = bias_from_all;
    this->valid = to_engine_layout(valid);
    this->window_sum = to_engine_layout(window_sum);
    grad_bias = torch::stable::new_empty(grad, {needs_bias ? size[1] : 0});
  }

  const uint8_t* valid_data() const { return static_cast<const uint8_t*>(valid.data_ptr()); }
  void* grad_bias_data() const { return grad_bias.numel() > 0 ? grad_bias.data_ptr() : nullptr; }

  ScaleGradProblem problem;
  Tensor valid, window_sum, grad_bias;
};

std::tuple<Tensor, Tensor> scale_grad_cpu(Tensor grad, Tensor valid, Tensor window_sum, int64_t window_size,
                                          std::string normalization, bool needs_bias, bool bias_from_all) {
  const ScaleGradCall call(grad, valid, window_sum, window_size, normalization, needs_bias, bias_from_all);
  const ScaleGradProblem& problem = call.problem;
  const Tensor scaled = empty_beside(grad, sizes_of(grad), grad.scalar_type(), true);
  // Either layout is read as it is; what follows wants the channels last.
  const bool in_place = channels_to_last(grad).is_contiguous();
  const Tensor from = in_place ? grad : torch::stable::contiguous(grad);
  const int64_t image = problem.positions * problem.filters;
  const cpu::Strides strides =
      in_place ? cpu::Strides{image, problem.filters, 1} : cpu::Strides{image, 1, problem.positions};
  cpu::scale_grad(cpu_runtime(), problem, dtype_of(grad), from.data_ptr(), strides, call.valid_data(),
                  call.window_sum.data_ptr(), scaled.data_ptr(), call.grad_bias_data());
  return {scaled, call.grad_bias};
}

#ifdef MASKCONV_WITH_CUDA

std::tuple<Tensor, Tensor> scale_grad_cuda(Tensor grad, Tensor valid, Tensor window_sum, int64_t window_size,
                                           std::string normalization, bool needs_bias, bool bias_from_all) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const ScaleGradCall call(grad, valid, window_sum, window_size, normalization, needs_bias, bias_from_all);
  const Tensor scaled = empty_beside(grad, sizes_of(grad), grad.scalar_type(), true);
  const Tensor from = to_engine_layout(grad);
  ScaleGradArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(grad);
  arguments.grad = from.data_ptr();
  arguments.valid = call.valid_data();
  arguments.window_sum = call.window_sum.data_ptr();
  arguments.scaled = scaled.data_ptr();
  arguments.grad_bias = call.grad_bias_data();
  const ScalarType sums = arguments.dtype == DType::kFloat64 ? ScalarType::Double : ScalarType::Float;
  const Tensor partial = torch::stable::new_empty(grad, {scale_grad_partial_sums(arguments)}, sums);
  arguments.partial_sums = partial.data_ptr();
  launch_scale_grad(arguments, current_stream(grad));
  return {scaled, call.grad_bias};
}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) {
  library.impl("scale_grad", TORCH_BOX(&scale_grad_cpu));
}

#ifdef MASKCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("scale_grad", TORCH_BOX(&scale_grad_cuda));
}
#endif

}  // namespace maskconv::ops
