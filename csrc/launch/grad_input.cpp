#include "launch/grad_input.h"

#include <stdexcept>
#include <string>

#include "launch/depthwise.h"
#include "launch/few_channels.h"
#include "launch/grad_input_instances.h"

namespace maskconv {

void launch_grad_input(const GradInputArguments& arguments, const Candidate& chosen, void* cuda_stream) {
  const ConvProblem& problem = arguments.problem;
  if (problem.batch * problem.input_positions() == 0 || problem.channels == 0) return;
  if (chosen.route == Route::kDepthwise) return launch_depthwise(arguments, cuda_stream);
  if (chosen.route == Route::kFewChannels) return launch_few_channels(arguments, cuda_stream);
  const GemmConfig& config = chosen.config;
  const std::string why_not = why_not_config(config, problem, grad_input_shape(problem), arguments.dtype,
                                             operands_aligned(arguments), current_device_properties());
  if (!why_not.empty()) throw std::invalid_argument("the CUDA grad_input cannot run: " + why_not);
  const auto params = make_grad_input_params(arguments, config);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  const auto launch = [&] {
    switch (arguments.dtype) {
      case DType::kBFloat16:
        return launch_grad_input_bf16(config, params, stream);
      case DType::kFloat16:
        return launch_grad_input_f16(config, params, stream);
      case DType::kFloat32:
        return launch_grad_input_f32(config, params, stream);
      default:
        return launch_grad_input_f64(config, params, stream);
    }
  };
  check_cuda(launch(), "launching the masked convolution's input gradient " + name(config));
}

}  // namespace maskconv
