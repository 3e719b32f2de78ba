// maskconv_ext::grad_weight on CUDA. A mask that differs between channels is applied in a pass before; other
// layouts than channels_last cost a copy.
#ifdef MASKCONV_WITH_CUDA

#include "launch/depthwise.h"
#include "launch/few_channels.h"
#include "launch/grad_weight.h"
#include "ops/cuda_stream.h"
#include "ops/gradient_call.h"
#include "ops/masks_cuda.h"
#include "plan/choice.h"

namespace maskconv::ops {

namespace {

Tensor grad_weight_cuda(Tensor grad, std::optional<Tensor> valid, Tensor input, std::optional<Tensor> mask,
                        Sizes weight_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                        Sizes mask_channels, bool allow_tf32) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const GradWeightCall call(grad, valid, input, mask,
                            {sizes_of(input), weight_size, stride, padding, dilation, groups, allow_tf32},
                            mask_channels);
  if (call.gradient) {
    GradWeightArguments arguments;
    arguments.problem = call.problem;
    arguments.dtype = dtype_of(grad);
    arguments.grad = call.gradient->grad.data_ptr();
    const std::optional<Tensor> valid_anywhere = call.gradient->valid_anywhere();
    if (valid_anywhere) arguments.valid = static_cast<const uint8_t*>(valid_anywhere->data_ptr());
    const bool shared = call.mask.view.shared();
    const Tensor x = shared ? to_engine_layout(input) : select_cuda(call.problem, call.mask, input);
    arguments.input = x.data_ptr();
    if (shared) arguments.mask = static_cast<const uint8_t*>(call.mask.view.data);
    arguments.result = call.grad_weight.data_ptr();
    const DeviceProperties device = current_device_properties();
    const Candidate chosen =
        choice_of(Pass::kGradWeight, call.problem, arguments.dtype, operands_aligned(arguments), device);
    const auto run = [&](const auto& plan, auto launch) {
      // Freed when the caller goes on; the allocator hands it to later work of the same stream only.
      const Tensor workspace = torch::stable::new_empty(grad, {plan.workspace_bytes}, ScalarType::Byte);
      arguments.workspace = workspace.data_ptr();
      launch(plan);
    };
    if (chosen.route == Route::kDepthwise) {
      run(plan_depthwise_grad_weight(arguments, 0, device),
          [&](const DepthwiseWeightPlan& plan) { launch_depthwise(arguments, plan, current_stream(grad)); });
    } else {
      run(plan_grad_weight(chosen.config, 0, call.problem, arguments.dtype, device),
          [&](const GradWeightPlan& plan) {
            if (chosen.route == Route::kFewChannels) {
              launch_few_channels(arguments, plan, current_stream(grad));
            } else {
              launch_grad_weight(arguments, plan, current_stream(grad));
            }
          });
    }
  }
  return call.result();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("grad_weight", TORCH_BOX(&grad_weight_cuda));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
