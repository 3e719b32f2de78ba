// maskconv_ext::grad_input on CUDA: one launch. Other layouts than channels_last cost a copy on either side.
#ifdef MASKCONV_WITH_CUDA

#include "launch/grad_input.h"
#include "ops/cuda_stream.h"
#include "ops/gradient_call.h"

namespace maskconv::ops {

namespace {

Tensor grad_input_cuda(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> mask, Tensor weight,
                       Sizes input_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                       Sizes mask_channels, bool channels_last, bool allow_tf32) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const GradInputCall call(grad, valid, mask, weight,
                           {input_size, sizes_of(weight), stride, padding, dilation, groups, allow_tf32},
                           mask_channels);
  STD_TORCH_CHECK(call.mask.view.shared(),
                  "maskconv_ext: mask: the CUDA kernel needs one shared by all channels");
  if (call.gradient) {
    GradInputArguments arguments;
    arguments.problem = call.problem;
    arguments.dtype = dtype_of(grad);
    arguments.grad = call.gradient->grad.data_ptr();
    arguments.valid = call.gradient->valid_data();
    arguments.mask = static_cast<const uint8_t*>(call.mask.view.data);
    arguments.weight = call.weight.data_ptr();
    arguments.grad_input = call.grad_input.data_ptr();
    launch_grad_input(arguments, current_stream(grad));
  }
  return call.result(channels_last);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("grad_input", TORCH_BOX(&grad_input_cuda));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
