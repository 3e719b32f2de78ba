#include "launch/forward.h"

#include <stdexcept>
#include <string>

#include "launch/forward_instances.h"

namespace maskconv {
namespace {

void check(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(what + ": " + cudaGetErrorString(error));
}

}  // namespace

DeviceProperties current_device_properties() {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current CUDA device");
  const auto attribute = [device](cudaDeviceAttr wanted) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, wanted, device), "asking for the properties of the CUDA device");
    return value;
  };
  DeviceProperties properties;
  properties.compute_capability =
      attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor);
  properties.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  properties.shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  return properties;
}

void launch_forward(const ForwardArguments& arguments, void* cuda_stream) {
  const ConvProblem& problem = arguments.problem;
  if (problem.rows() == 0 || problem.filters == 0) return;
  const DeviceProperties device = current_device_properties();
  const std::string why_not = why_not_forward(problem, arguments.dtype, MaskTraits{}, device);
  if (!why_not.empty()) throw std::invalid_argument("the CUDA forward cannot run: " + why_not);

  const bool aligned = operands_aligned(arguments);
  const ForwardConfig config = choose_forward_config(problem, arguments.dtype, aligned, device);
  const ForwardParams params = make_forward_params(arguments, config);
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
  check(launch(), "launching the masked convolution " + name(config));
}

}  // namespace maskconv
