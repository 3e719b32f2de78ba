// maskconv_ext::grad_weight on CUDA. A mask that is soft or differs between channels is applied in a pass
// before, to a copy; other layouts than channels_last cost a copy.
#ifdef MASKCONV_WITH_CUDA

#include "launch/depthwise.h"
#include "launch/few_channels.h"
#include "launch/grad_weight.h"
#include "ops/composite_cuda.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"
#include "plan/choice.h"

namespace maskconv::ops {

namespace {

// Kernels apply a mask that says no more than which positions are read, for all channels.
bool applied_by_kernels(const Mask& mask) { return mask.view.shared() && !mask.soft(); }

// One of our own kernels, which fills call.grad_weight.
void grad_weight_kernel_cuda(const GradWeightCall& call, const Tensor& input, const Candidate& chosen) {
  GradWeightArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = dtype_of(input);
  arguments.gradient = call.gradient->view();
  const Tensor x =
      applied_by_kernels(call.mask) ? to_engine_layout(input) : select_cuda(call.problem, call.mask, input);
  arguments.input = x.data_ptr();
  const std::optional<Tensor> live = shared_hard_mask(call.mask);
  if (live) arguments.mask = static_cast<const uint8_t*>(live->data_ptr());
  arguments.result = call.grad_weight.data_ptr();
  const DeviceProperties device = current_device_properties();
  const auto run = [&](const auto& plan, auto launch) {
    // Freed when the caller goes on; the allocator hands it to later work of the same stream only.
    const Tensor workspace = torch::stable::new_empty(input, {plan.workspace_bytes}, ScalarType::Byte);
    arguments.workspace = workspace.data_ptr();
    launch(arguments, plan, current_stream(input));
  };
  if (chosen.route == Route::kDepthwise)
    return run(plan_depthwise_grad_weight(arguments, 0, device),
               [](const auto&... given) { launch_depthwise(given...); });
  const GradWeightPlan plan = plan_grad_weight(chosen.config, 0, call.problem, arguments.dtype, device);
  if (chosen.route == Route::kFewChannels)
    return run(plan, [](const auto&... given) { launch_few_channels(given...); });
  run(plan, [](const auto&... given) { launch_grad_weight(given...); });
}

Tensor grad_weight_cuda(Tensor grad, std::optional<Tensor> valid, std::optional<Tensor> scale, Tensor input,
                        std::optional<Tensor> mask, Sizes weight_size, Sizes stride, Sizes padding,
                        Sizes dilation, int64_t groups, Sizes mask_channels, bool allow_tf32,
                        std::string candidate) {
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const ConvArguments geometry{sizes_of(input), weight_size, stride, padding, dilation, groups, allow_tf32};
  GradWeightCall call(grad, valid, scale, input, mask, geometry, mask_channels);
  if (call.gradient) {
    const OutputGradient gradient = call.gradient->view();
    const bool aligned =
        is_aligned(gradient.grad) && (!applied_by_kernels(call.mask) || is_read_aligned(input));
    const Candidate chosen = choice_of(Pass::kGradWeight, call.problem, dtype_of(grad), aligned,
                                       current_device_properties(), gradient.window_channels, candidate);
    if (chosen.route == Route::kComposite) {
      call.grad_weight = grad_weight_composite_cuda(call, geometry, input);
    } else {
      grad_weight_kernel_cuda(call, input, chosen);
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
