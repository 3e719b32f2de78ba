// maskconv_ext::forward on the CPU.
#include "ops/forward_call.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

std::tuple<Tensor, Tensor, Tensor> forward_cpu(Tensor input, std::optional<Tensor> mask, Tensor weight,
                                               std::optional<Tensor> bias, Sizes stride, Sizes padding,
                                               Sizes dilation, int64_t groups, Sizes mask_channels,
                                               std::string normalization, std::string mask_update,
                                               double threshold, std::optional<double> fill,
                                               bool pad_is_valid, bool channels_last) {
  ForwardCall call(input, mask, weight, bias,
                   {sizes_of(input), sizes_of(weight), stride, padding, dilation, groups}, mask_channels,
                   normalization, mask_update, threshold, fill, pad_is_valid);
  const Tensor output = empty_beside(input, call.output_size, input.scalar_type(), channels_last);

  if (!call.empty()) {
    cpu::ForwardOutput out;
    out.y = output.data_ptr();
    const int64_t positions = call.problem.output_positions(), filters = call.problem.filters;
    out.strides = channels_last ? cpu::OutputStrides{positions * filters, filters, 1}
                                : cpu::OutputStrides{positions * filters, 1, positions};
    out.window_sum = call.window_sum.data_ptr();
    out.out_mask = call.out_mask.data_ptr();
    out.out_mask_element = call.out_mask_element();
    cpu::forward(cpu_runtime(), call.problem, dtype_of(input), call.mask.view, call.input.data_ptr(),
                 call.weight.data_ptr(), call.bias ? call.bias->data_ptr() : nullptr, out);
  }
  return {output, call.public_out_mask(mask), call.public_window(call.window_sum)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) { library.impl("forward", TORCH_BOX(&forward_cpu)); }

}  // namespace maskconv::ops
