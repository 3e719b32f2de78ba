#include "launch/grad_weight.h"

#include <stdexcept>
#include <string>

#include "launch/grad_weight_instances.h"

namespace maskconv {

void launch_grad_weight(const GradWeightArguments& arguments, const GradWeightPlan& plan, void* cuda_stream) {
  const std::string why_not = why_not_grad_weight(plan.config, arguments.problem, arguments.dtype,
                                                  operands_aligned(arguments), current_device_properties());
  if (!why_not.empty()) throw std::invalid_argument("the CUDA grad_weight cannot run: " + why_not);
  const GradWeightParams params = make_grad_weight_params(arguments, plan);
  if (params.blocks() == 0) return;
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  const auto launch = [&] {
    switch (arguments.dtype) {
      case DType::kBFloat16:
        return launch_grad_weight_bf16(plan.config, params, stream);
      case DType::kFloat16:
        return launch_grad_weight_f16(plan.config, params, stream);
      case DType::kFloat32:
        return launch_grad_weight_f32(plan.config, params, stream);
      default:
        return launch_grad_weight_f64(plan.config, params, stream);
    }
  };
  check_cuda(launch(), "launching the masked convolution's weight gradient " + name(plan.config));
}

}  // namespace maskconv
