// maskconv_ext::forward on CUDA. A mask that says no more than which positions are read, for all channels,
// takes one launch; of others the windows are counted and the input is selected before. Where no order of
// rows is given, and sorting is expected to pay, rows are sorted first. Other layouts than channels_last cost
// a copy on either side.
#ifdef MASKCONV_WITH_CUDA

#include "launch/forward.h"
#include "ops/composite_cuda.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"
#include "ops/row_order.h"
#include "plan/choice.h"

namespace maskconv::ops {

namespace {

// One of our own kernels. Returns (N, K, *O), stored (N, *O, K).
Tensor forward_kernel_cuda(const ForwardCall& call, const Tensor& input, const Tensor& weight,
                           const Candidate& chosen, const std::optional<Tensor>& row_order) {
  const Tensor output = empty_beside(input, call.output_size, input.scalar_type(), true);
  const Tensor w = to_engine_layout(weight);
  ForwardArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(input);
  arguments.weight = w.data_ptr();
  arguments.bias = call.bias_data();
  arguments.weight_sum = call.weight_sum_data();
  arguments.output = output.data_ptr();

  // What the arguments point to, until the launch is queued.
  Tensor x;
  std::optional<CountedWindows> counted;
  std::optional<Tensor> live;
  if (call.mask.view.shared() && !call.mask.soft()) {
    x = to_engine_layout(input);
    arguments.mask = static_cast<const uint8_t*>(call.mask.view.data);
    arguments.out_mask = call.out_mask.data_ptr();
    arguments.window_sum = static_cast<int32_t*>(call.window_sum.data_ptr());
  } else {
    counted = count_windows_cuda(call, input);
    x = select_cuda(call.problem, call.mask, input);
    arguments.given = counted->windows;
    // Positions where no channel is valid are not even read; other holes are zeros by now.
    const Tensor& of_channels = call.mask.view.shared() ? call.mask.storage : counted->channel_sums;
    live = call_aten("aten::any", "dim", of_channels, int64_t{-1}, false);
    arguments.mask = static_cast<const uint8_t*>(live->data_ptr());
  }
  arguments.input = x.data_ptr();
  const std::optional<Tensor> order = choose_row_order(arguments, chosen, row_order, input);
  arguments.row_order = row_order_data(order);
  launch_forward(arguments, chosen, current_stream(input));
  return output;
}

std::tuple<Tensor, Tensor, Tensor> forward_cuda(Tensor input, std::optional<Tensor> mask, Tensor weight,
                                                std::optional<Tensor> bias, Sizes stride, Sizes padding,
                                                Sizes dilation, int64_t groups, Sizes mask_channels,
                                                std::string normalization, std::string mask_update,
                                                double threshold, std::optional<double> fill,
                                                bool pad_is_valid, bool channels_last, bool allow_tf32,
                                                std::optional<Tensor> row_order, std::optional<Tensor>,
                                                std::optional<Tensor> weight_sum, std::string candidate) {
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const ConvArguments arguments{sizes_of(input), sizes_of(weight), stride,    padding,
                                dilation,        groups,           allow_tf32};
  ForwardCall call(input, mask, weight, bias, arguments, mask_channels, normalization, mask_update, threshold,
                   fill, pad_is_valid, weight_sum);
  call.lay_out_weight_sum(true);
  STD_TORCH_CHECK(call.problem.batch > 0, "maskconv_ext: input: the CUDA kernel needs a batch of at least 1");
  const Candidate chosen = choice_of(Pass::kForward, call.problem, dtype_of(input),
                                     is_read_aligned(input) && is_read_aligned(weight),
                                     current_device_properties(), call.mask.view.window_channels, candidate);
  const Tensor output = chosen.route == Route::kComposite
                            ? forward_composite_cuda(call, arguments, input, weight)
                            : forward_kernel_cuda(call, input, weight, chosen, row_order);
  return {channels_last ? output : to_contiguous(output), call.public_out_mask(mask), call.window_sum};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) { library.impl("forward", TORCH_BOX(&forward_cuda)); }

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
