// maskconv_ext::forward on CUDA: one launch. Other layouts than channels_last cost a copy on either side.
#ifdef MASKCONV_WITH_CUDA

#include "launch/forward.h"
#include "ops/cuda_stream.h"
#include "ops/forward_call.h"

namespace maskconv::ops {

namespace {

std::tuple<Tensor, Tensor, Tensor> forward_cuda(Tensor input, std::optional<Tensor> mask, Tensor weight,
                                                std::optional<Tensor> bias, Sizes stride, Sizes padding,
                                                Sizes dilation, int64_t groups, Sizes mask_channels,
                                                std::string normalization, std::string mask_update,
                                                double threshold, std::optional<double> fill,
                                                bool pad_is_valid, bool channels_last, bool allow_tf32) {
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  ForwardCall call(input, mask, weight, bias,
                   {sizes_of(input), sizes_of(weight), stride, padding, dilation, groups, allow_tf32},
                   mask_channels, normalization, mask_update, threshold, fill, pad_is_valid);
  STD_TORCH_CHECK(call.mask.view.shared() && !call.mask.soft(),
                  "maskconv_ext: mask: the CUDA kernel needs a bool or uint8 mask shared by all channels");
  STD_TORCH_CHECK(call.problem.batch > 0, "maskconv_ext: input: the CUDA kernel needs a batch of at least 1");
  const Tensor output = empty_beside(input, call.output_size, input.scalar_type(), true);

  const Tensor x = to_engine_layout(input), w = to_engine_layout(weight);
  ForwardArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(input);
  arguments.input = x.data_ptr();
  arguments.mask = static_cast<const uint8_t*>(call.mask.view.data);
  arguments.weight = w.data_ptr();
  arguments.bias = call.bias_data();
  arguments.output = output.data_ptr();
  arguments.out_mask = call.out_mask.data_ptr();
  arguments.window_sum = static_cast<int32_t*>(call.window_sum.data_ptr());

  launch_forward(arguments, current_stream(input));
  return {channels_last ? output : torch::stable::contiguous(output), call.public_out_mask(mask),
          call.public_window(call.window_sum)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) { library.impl("forward", TORCH_BOX(&forward_cuda)); }

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
