#include "plan/forward_planner.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace maskconv {
namespace {

constexpr int32_t kMmaChannels = 8;  // 16 bytes of fp16 or bf16: one cp.async
constexpr int32_t kMmaComputeCapability = 80;
constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxBlocks = std::numeric_limits<int32_t>::max();  // what grid.x carries

int64_t ceil_div(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

int64_t blocks(const ForwardConfig& config, const ConvProblem& problem) {
  return ceil_div(problem.rows(), config.block_m) * ceil_div(problem.filters_per_group(), config.block_n) *
         problem.groups;
}

bool fits_filters(const ForwardConfig& config, const ConvProblem& problem) {
  const int64_t filters = problem.filters_per_group();
  const int64_t narrow = ceil_div(filters, kMma128x64.block_n) * kMma128x64.block_n;
  return ceil_div(filters, config.block_n) * config.block_n <= narrow;
}

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0; }

int32_t minimum_sum(const ConvProblem& problem) {
  switch (problem.mask_update) {
    case MaskUpdate::kAll:
      return problem.taps();
    case MaskUpdate::kThreshold:
      return static_cast<int32_t>(std::ceil(problem.threshold * problem.taps()));
    default:
      return 1;
  }
}

}  // namespace

std::string name(const ForwardConfig& config) {
  const std::string kernel = config.kernel == ForwardKernel::kMma ? "mma" : "simt";
  return kernel + "_" + std::to_string(config.block_m) + "x" + std::to_string(config.block_n) + "x" +
         std::to_string(config.block_k) + "_s" + std::to_string(config.stages);
}

ForwardConfig forward_config_named(const std::string& wanted) {
  std::string known;
  for (const ForwardConfig& config : kForwardConfigs) {
    if (name(config) == wanted) return config;
    known += (known.empty() ? "" : ", ") + name(config);
  }
  throw std::invalid_argument("no forward kernel is named '" + wanted + "'; there are " + known);
}

std::string why_not_forward(const ConvProblem& problem, DType dtype, const MaskTraits& mask,
                            const DeviceProperties& device) {
  if (mask.soft) return "the mask is soft; the CUDA kernel takes a bool or uint8 mask, or none";
  if (mask.channels != 1)
    return "the mask has " + std::to_string(mask.channels) +
           " channels; the CUDA kernel takes one mask shared by all channels";
  const ForwardConfig& any = dtype == DType::kFloat64 ? kSimt64x32 : kSimt64x64;
  return why_not_config(any, problem, dtype, true, device);
}

std::string why_not_config(const ForwardConfig& config, const ConvProblem& problem, DType dtype, bool aligned,
                           const DeviceProperties& device) {
  const int64_t taps = int64_t{problem.kernel[0]} * problem.kernel[1] * problem.kernel[2];
  if (taps > kMaxTaps)
    return "the kernel has " + std::to_string(taps) + " taps; the CUDA kernel takes at most " +
           std::to_string(kMaxTaps);
  for (int axis = 0; axis < kAxes; ++axis) {
    const int64_t reach = int64_t{problem.output[axis] - 1} * problem.stride[axis] +
                          int64_t{problem.kernel[axis] - 1} * problem.dilation[axis];
    if (reach > kMaxPosition)
      return "the windows reach over " + std::to_string(reach + 1) +
             " positions of one axis; the CUDA kernel counts them in 32 bits";
  }
  if (config.kernel == ForwardKernel::kMma) {
    if (!is_half(dtype)) return name(config) + " computes in float16 and bfloat16 only";
    if (device.compute_capability < kMmaComputeCapability)
      return name(config) + " needs compute capability 8.0, this device has " +
             std::to_string(device.compute_capability / 10) + "." +
             std::to_string(device.compute_capability % 10);
    if (problem.channels_per_group() % kMmaChannels != 0)
      return name(config) + " needs a multiple of " + std::to_string(kMmaChannels) +
             " channels a group, got " + std::to_string(problem.channels_per_group());
    if (!aligned) return name(config) + " needs input and weight to start on a 16-byte boundary";
  } else if ((dtype == DType::kFloat64) != (config == kSimt64x32)) {
    return name(config) +
           (config == kSimt64x32 ? " computes in float64 only" : " does not compute in float64");
  }
  const int32_t shared = forward_layout(config, dtype, problem.taps()).total;
  if (shared > device.shared_bytes_per_block)
    return name(config) + " needs " + std::to_string(shared) + " bytes of shared memory for " +
           std::to_string(taps) + " taps, this device has " + std::to_string(device.shared_bytes_per_block);
  if (blocks(config, problem) > kMaxBlocks)
    return "the output has " + std::to_string(problem.rows()) + " positions x " +
           std::to_string(problem.filters) + " filters: more tiles than one launch can carry";
  return {};
}

ForwardConfig choose_forward_config(const ConvProblem& problem, DType dtype, bool aligned,
                                    const DeviceProperties& device) {
  // From the least traffic per multiplication to the most blocks; the first that fills the device wins.
  ForwardConfig chosen = dtype == DType::kFloat64 ? kSimt64x32 : kSimt64x64;
  for (const ForwardConfig& config : {kMma128x128, kMma128x64, kMma64x64}) {
    if (!why_not_config(config, problem, dtype, aligned, device).empty() || !fits_filters(config, problem))
      continue;
    chosen = config;
    if (blocks(config, problem) >= device.multiprocessors) break;
  }
  return chosen;
}

bool operands_aligned(const ForwardArguments& arguments) {
  return is_aligned(arguments.input) && is_aligned(arguments.weight);
}

ForwardParams make_forward_params(const ForwardArguments& arguments, const ForwardConfig& config) {
  const ConvProblem& problem = arguments.problem;
  ForwardParams params;
  static_cast<ForwardArguments&>(params) = arguments;
  params.minimum_sum = minimum_sum(problem);
  params.filter_tiles = static_cast<int32_t>(ceil_div(problem.filters_per_group(), config.block_n));
  params.row_tiles = ceil_div(problem.rows(), config.block_m);
  params.vector_store = problem.filters_per_group() * element_bytes(arguments.dtype) % kVectorBytes == 0 &&
                        is_aligned(arguments.output);
  return params;
}

}  // namespace maskconv
