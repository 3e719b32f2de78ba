// maskconv_ext::grad_input on CUDA: one launch, and those that sort the rows (ops/forward_cuda.cpp); under a
// mask that is soft or differs between channels another, which selects in place. Other layouts than
// channels_last cost a copy on either side.
#ifdef MASKCONV_WITH_CUDA

#include "launch/grad_input.h"
#include "ops/composite_cuda.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"
#include "ops/row_order.h"
#include "plan/choice.h"

namespace maskconv::ops {

namespace {

// One of our own kernels, which fills call.grad_input.
void grad_input_kernel_cuda(const GradInputCall& call, GradInputArguments& arguments, const Candidate& chosen,
                            const std::optional<Tensor>& row_order) {
  const std::optional<Tensor> live = shared_hard_mask(call.mask);
  if (live) arguments.mask = static_cast<const uint8_t*>(live->data_ptr());
  std::optional<Tensor> order;
  if (arguments.mask != nullptr) order = choose_row_order(arguments, chosen, row_order, call.grad_input);
  arguments.row_order = row_order_data(order);
  launch_grad_input(arguments, chosen, current_stream(call.grad_input));
  if (call.mask.soft() || !call.mask.view.shared())
    select_in_place_cuda(call.problem, call.mask, call.grad_input);
}

Tensor grad_input_cuda(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> scale,
                       std::optional<Tensor> mask, Tensor weight, Sizes input_size, Sizes stride,
                       Sizes padding, Sizes dilation, int64_t groups, Sizes mask_channels, bool channels_last,
                       bool allow_tf32, std::optional<Tensor> row_order, std::string candidate) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const ConvArguments geometry{input_size, sizes_of(weight), stride, padding, dilation, groups, allow_tf32};
  GradInputCall call(grad, valid, scale, mask, weight, geometry, mask_channels);
  if (call.gradient) {
    GradInputArguments arguments;
    arguments.problem = call.problem;
    arguments.dtype = dtype_of(grad);
    arguments.gradient = call.gradient->view();
    arguments.weight = call.weight.data_ptr();
    arguments.grad_input = call.grad_input.data_ptr();
    const Candidate chosen =
        choice_of(Pass::kGradInput, call.problem, arguments.dtype, operands_aligned(arguments),
                  current_device_properties(), arguments.gradient.window_channels, candidate);
    if (chosen.route == Route::kComposite) {
      call.grad_input = grad_input_composite_cuda(call, geometry, weight);
    } else {
      grad_input_kernel_cuda(call, arguments, chosen, row_order);
    }
  }
  return call.result(channels_last);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("grad_input", TORCH_BOX(&grad_input_cuda));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
