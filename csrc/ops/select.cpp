// maskconv_ext::select_: a tensor under a soft mask, in its place.
#include "ops/arguments.h"
#include "ops/runtime.h"
#ifdef MASKCONV_WITH_CUDA
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"
#endif

namespace maskconv::ops {

namespace {

struct SelectCall {
  SelectCall(const Tensor& input, const Tensor& mask, const Sizes& mask_channels)
      : problem(make_pointwise_problem(sizes_of(input))), channels_last(is_channels_last(input)) {
    STD_TORCH_CHECK(channels_last || input.is_contiguous(),
                    "maskconv_ext: input: needs to be contiguous, or channels_last");
    this->mask = make_mask(mask, input, mask_channels, problem);
    STD_TORCH_CHECK(this->mask.soft(), "maskconv_ext: mask: needs a floating dtype");
  }

  ConvProblem problem;
  bool channels_last;
  Mask mask;
};

void select_cpu(Tensor input, Tensor mask, Sizes mask_channels) {
  const SelectCall call(input, mask, mask_channels);
  cpu::select(cpu_runtime(), call.problem, dtype_of(input), call.mask.view,
              strides_of(call.problem.input_positions(), call.problem.channels, call.channels_last),
              input.mutable_data_ptr());
}

#ifdef MASKCONV_WITH_CUDA

void select_any_cuda(Tensor input, Tensor mask, Sizes mask_channels) {
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const SelectCall call(input, mask, mask_channels);
  if (call.channels_last) {
    select_in_place_cuda(call.problem, call.mask, input);
  } else {
    torch::stable::copy_(input, select_cuda(call.problem, call.mask, input));
  }
}

#endif

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) { library.impl("select_", TORCH_BOX(&select_cpu)); }

#ifdef MASKCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("select_", TORCH_BOX(&select_any_cuda));
}
#endif

}  // namespace maskconv::ops
