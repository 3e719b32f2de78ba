#ifdef MASKCONV_WITH_CUDA

#include "ops/masks_cuda.h"

#include "launch/select.h"
#include "launch/window.h"
#include "ops/cuda_stream.h"

namespace maskconv::ops {

namespace {

SelectArguments select_arguments(const ConvProblem& problem, const Mask& mask, const Tensor& input) {
  SelectArguments arguments;
  arguments.problem = problem;
  arguments.dtype = dtype_of(input);
  arguments.mask = channel_mask(mask);
  arguments.x = input.data_ptr();
  return arguments;
}

}  // namespace

ChannelMask channel_mask(const Mask& mask) {
  std::vector<int32_t> parts;
  for (const cpu::MaskPart& part : mask.view.parts) parts.push_back(part.channels);
  return make_channel_mask(mask.view.data, mask.soft(), parts);
}

std::optional<Tensor> shared_hard_mask(const Mask& mask) {
  if (mask.view.data == nullptr || !mask.view.shared()) return {};
  return mask.soft() ? torch::stable::to(mask.storage, ScalarType::Bool) : mask.storage;
}

CountedWindows count_windows_cuda(const ForwardCall& call, const Tensor& input) {
  const ConvProblem& problem = call.problem;
  const bool fraction = problem.mask_update == MaskUpdate::kFraction;

  WindowArguments arguments;
  arguments.problem = problem;
  arguments.mask = channel_mask(call.mask);
  arguments.wide = dtype_of(input) == DType::kFloat64;
  const int64_t channels = call.mask.view.window_channels;
  CountedWindows counted{
      fraction ? torch::stable::new_empty(input, sizes_of(call.out_mask), ScalarType::Byte) : call.out_mask,
      torch::stable::new_empty(input, {window_channel_sums(arguments) / channels, channels},
                               call.window_sum.scalar_type()),
      {}};
  arguments.channel_sums = counted.channel_sums.data_ptr();
  arguments.sum = call.window_sum.data_ptr();
  arguments.valid = static_cast<uint8_t*>(counted.valid.data_ptr());
  arguments.fraction = fraction ? call.out_mask.data_ptr() : nullptr;
  launch_window(arguments, current_stream(input));

  counted.windows.sum = arguments.sum;
  counted.windows.valid = arguments.valid;
  counted.windows.channels = static_cast<int32_t>(channels);
  counted.windows.size = static_cast<int32_t>(cpu::window_size(problem, call.mask.view));
  counted.windows.soft = call.mask.soft();
  return counted;
}

Tensor select_cuda(const ConvProblem& problem, const Mask& mask, const Tensor& input) {
  const bool channels_last = is_channels_last(input);
  const Tensor x = channels_last ? input : to_contiguous(input);
  const Tensor selected = empty_beside(input, sizes_of(input), input.scalar_type(), true);
  SelectArguments arguments = select_arguments(problem, mask, x);
  arguments.channels_last = channels_last;
  arguments.selected = selected.data_ptr();
  launch_select(arguments, current_stream(input));
  return selected;
}

void select_in_place_cuda(const ConvProblem& problem, const Mask& mask, const Tensor& input) {
  SelectArguments arguments = select_arguments(problem, mask, input);
  arguments.selected = input.data_ptr();
  launch_select(arguments, current_stream(input));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
