#include "launch/forward.h"

#include <stdexcept>
#include <string>

#include "launch/depthwise.h"
#include "launch/few_channels.h"
#include "launch/forward_instances.h"

namespace maskconv {

void launch_forward(const ForwardArguments& arguments, const Candidate& chosen, void* cuda_stream) {
  const ConvProblem& problem = arguments.problem;
  if (problem.rows() == 0 || problem.filters == 0) return;
  if (chosen.route == Route::kDepthwise) return launch_depthwise(arguments, cuda_stream);
  if (chosen.route == Route::kFewChannels) return launch_few_channels(arguments, cuda_stream);
  const GemmConfig& config = chosen.config;
  const std::string why_not = why_not_config(config, problem, forward_shape(problem), arguments.dtype,
                                             operands_aligned(arguments), current_device_properties());
  if (!why_not.empty()) throw std::invalid_argument("the CUDA forward cannot run: " + why_not);
  const auto params = make_forward_params(arguments, config);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  const auto launch = [&] {
    switch (arguments.dtype) {
      case DType::kBFloat16:
        return launch_forward_bf16(config, params, stream);
      case DType::kFloat16:
        return launch_forward_f16(config, params, stream);
      case DType::kFloat32:
        return launch_forward_f32(config, params, stream);
      default:
        return launch_forward_f64(config, params, stream);
    }
  };
  check_cuda(launch(), "launching the masked convolution " + name(config));
}

}  // namespace maskconv
