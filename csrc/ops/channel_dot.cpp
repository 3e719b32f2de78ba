// maskconv_ext::channel_dot: two tensors, read once, multiplied and summed over channels.
#include "ops/arguments.h"
#include "ops/runtime.h"
#ifdef MASKCONV_WITH_CUDA
#include "launch/channel_dot.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"
#endif

namespace maskconv::ops {

namespace {

// The problem, and all tensors but the large ones.
struct ChannelDotCall {
  ChannelDotCall(const Tensor& a, const Tensor& b, const Tensor& mask, const Sizes& mask_channels)
      : problem(make_pointwise_problem(sizes_of(a))) {
    check_device(b, a, "b");
    STD_TORCH_CHECK(b.scalar_type() == a.scalar_type() && sizes_of(b) == sizes_of(a),
                    "maskconv_ext: b: needs the shape and dtype of a");
    this->mask = make_mask(mask, a, mask_channels, problem);
    STD_TORCH_CHECK(!this->mask.soft(), "maskconv_ext: mask: needs bool or uint8");
    Sizes size = sizes_of(a);
    size[1] = this->mask.view.channels;
    const ScalarType sums = a.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
    dots = empty_beside(a, size, sums, true);
  }

  ConvProblem problem;
  Mask mask;
  Tensor dots;
};

Tensor channel_dot_cpu(Tensor a, Tensor b, Tensor mask, Sizes mask_channels) {
  const ChannelDotCall call(a, b, mask, mask_channels);
  // Either layout is read as it is, if they share it.
  const bool channels_last = is_channels_last(a) && is_channels_last(b);
  const Tensor left = channels_last ? a : to_contiguous(a);
  const Tensor right = channels_last ? b : to_contiguous(b);
  cpu::channel_dot(
      cpu_runtime(), call.problem, dtype_of(a), call.mask.view, left.data_ptr(), right.data_ptr(),
      strides_of(call.problem.input_positions(), call.problem.channels, channels_last), call.dots.data_ptr());
  return call.dots;
}

#ifdef MASKCONV_WITH_CUDA

Tensor channel_dot_cuda(Tensor a, Tensor b, Tensor mask, Sizes mask_channels) {
  const torch::stable::accelerator::DeviceGuard guard(a.get_device_index());
  const ChannelDotCall call(a, b, mask, mask_channels);
  const Tensor left = to_engine_layout(a), right = to_engine_layout(b);
  ChannelDotArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(a);
  arguments.mask = channel_mask(call.mask);
  arguments.a = left.data_ptr();
  arguments.b = right.data_ptr();
  arguments.dots = call.dots.data_ptr();
  launch_channel_dot(arguments, current_stream(a));
  return call.dots;
}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) {
  library.impl("channel_dot", TORCH_BOX(&channel_dot_cpu));
}

#ifdef MASKCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("channel_dot", TORCH_BOX(&channel_dot_cuda));
}
#endif

}  // namespace maskconv::ops
