// maskconv_ext::grad_input and maskconv_ext::grad_weight on the CPU, which has one way to compute each.
#include "ops/gradient_call.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

Tensor grad_input_cpu(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> scale,
                      std::optional<Tensor> mask, Tensor weight, Sizes input_size, Sizes stride,
                      Sizes padding, Sizes dilation, int64_t groups, Sizes mask_channels, bool channels_last,
                      bool allow_tf32, std::optional<Tensor> row_order, std::string candidate) {
  check_no_row_order(row_order);
  check_candidate(candidate, {});
  const GradInputCall call(grad, valid, scale, mask, weight,
                           {input_size, sizes_of(weight), stride, padding, dilation, groups, allow_tf32},
                           mask_channels);
  if (call.gradient) {
    cpu::grad_input(cpu_runtime(), call.problem, dtype_of(grad), call.mask.view, call.gradient->view(),
                    call.weight.data_ptr(), call.grad_input.data_ptr());
  }
  return call.result(channels_last);
}

Tensor grad_weight_cpu(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> scale, Tensor input,
                       std::optional<Tensor> mask, Sizes weight_size, Sizes stride, Sizes padding,
                       Sizes dilation, int64_t groups, Sizes mask_channels, bool allow_tf32,
                       std::string candidate) {
  check_candidate(candidate, {});
  const GradWeightCall call(grad, valid, scale, input, mask,
                            {sizes_of(input), weight_size, stride, padding, dilation, groups, allow_tf32},
                            mask_channels);
  if (call.gradient) {
    const Tensor x = to_engine_layout(input);
    cpu::grad_weight(cpu_runtime(), call.problem, dtype_of(grad), call.mask.view, call.gradient->view(),
                     x.data_ptr(), call.grad_weight.data_ptr());
  }
  return call.result();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) {
  library.impl("grad_input", TORCH_BOX(&grad_input_cpu));
  library.impl("grad_weight", TORCH_BOX(&grad_weight_cpu));
}

}  // namespace maskconv::ops
