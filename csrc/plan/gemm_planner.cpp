#include "plan/gemm_planner.h"

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "plan/cost.h"

namespace maskconv {
namespace {

constexpr int32_t kMmaComputeCapability = 80;
constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxBlocks = std::numeric_limits<int32_t>::max();  // what grid.x carries

int64_t ceil_div(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

int64_t blocks(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape) {
  return row_tiles(shape, config) * ceil_div(shape.columns, config.block_n) * problem.groups;
}

std::string why_not_mma(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape,
                        DType dtype, bool aligned, const DeviceProperties& device) {
  const std::string why_not = why_not_tensor_cores(config, problem, dtype, device);
  if (!why_not.empty()) return why_not;
  const int32_t unit = tensor_core_channels(dtype);
  const auto multiple = [&] { return name(config) + " needs a multiple of " + std::to_string(unit) + " "; };
  if (shape.depth % unit != 0)
    return multiple() + (shape.loads_columns ? "filters" : "channels") + " a group, got " +
           std::to_string(shape.depth);
  if (shape.loads_columns && shape.columns % unit != 0)
    return multiple() + "channels a group, got " + std::to_string(shape.columns);
  if (!aligned)
    return name(config) + " needs " + (shape.loads_columns ? "grad" : "input") +
           " and weight to start on a 16-byte boundary";
  return {};
}

}  // namespace

int64_t row_tiles(const GemmShape& shape, const GemmConfig& config) {
  return ceil_div(shape.rows, config.block_m) * shape.row_classes;
}

std::string name(const GemmConfig& config) {
  const std::string kernel = config.kernel == GemmKernel::kMma      ? "mma"
                             : config.kernel == GemmKernel::kTf32   ? "tf32"
                             : config.kernel == GemmKernel::kPacked ? "packed"
                                                                    : "simt";
  return kernel + "_" + std::to_string(config.block_m) + "x" + std::to_string(config.block_n) + "x" +
         std::to_string(config.block_k) + "_s" + std::to_string(config.stages);
}

GemmConfig gemm_config_named(const std::string& wanted) {
  std::string known;
  for (const GemmConfig& config : kGemmConfigs) {
    if (name(config) == wanted) return config;
    known += (known.empty() ? "" : ", ") + name(config);
  }
  throw std::invalid_argument("no tile is named '" + wanted + "'; there are " + known);
}

std::string why_not_tensor_cores(const GemmConfig& config, const ConvProblem& problem, DType dtype,
                                 const DeviceProperties& device) {
  if (config.kernel == GemmKernel::kTf32) {
    if (dtype != DType::kFloat32) return name(config) + " computes in float32 only";
    if (!problem.allow_tf32)
      return name(config) + " rounds to TF32, which is not allowed: torch.backends.cudnn.conv.fp32_precision";
  } else if (!is_half(dtype)) {
    return name(config) + " computes in float16 and bfloat16 only";
  }
  if (device.compute_capability < kMmaComputeCapability)
    return name(config) + " needs compute capability 8.0, this device has " +
           std::to_string(device.compute_capability / 10) + "." +
           std::to_string(device.compute_capability % 10);
  return {};
}

std::string why_not_reach(const ConvProblem& problem) {
  for (int axis = 0; axis < kAxes; ++axis) {
    const int64_t windows = int64_t{problem.output[axis] - 1} * problem.stride[axis] +
                            int64_t{problem.kernel[axis] - 1} * problem.dilation[axis];
    const int64_t padded = int64_t{problem.input[axis]} - 1 + problem.padding[axis];
    const int64_t reach = windows > padded ? windows : padded;
    if (reach > kMaxPosition)
      return "the windows reach over " + std::to_string(reach + 1) +
             " positions of one axis; the CUDA kernel counts them in 32 bits";
  }
  return {};
}

std::string why_not_config(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape,
                           DType dtype, bool aligned, const DeviceProperties& device) {
  const int64_t taps = int64_t{problem.kernel[0]} * problem.kernel[1] * problem.kernel[2];
  if (taps > kMaxTaps)
    return "the kernel has " + std::to_string(taps) + " taps; the CUDA kernel takes at most " +
           std::to_string(kMaxTaps);
  const std::string too_far = why_not_reach(problem);
  if (!too_far.empty()) return too_far;
  if (config.on_tensor_cores()) {
    const std::string why_not = why_not_mma(config, problem, shape, dtype, aligned, device);
    if (!why_not.empty()) return why_not;
  } else if ((dtype == DType::kFloat64) != (config == kSimt64x32)) {
    return name(config) +
           (config == kSimt64x32 ? " computes in float64 only" : " does not compute in float64");
  }
  const int32_t shared = gemm_layout(config, dtype, problem.taps()).total;
  if (shared > device.shared_bytes_per_block)
    return name(config) + " needs " + std::to_string(shared) + " bytes of shared memory for " +
           std::to_string(taps) + " taps, this device has " + std::to_string(device.shared_bytes_per_block);
  if (blocks(config, problem, shape) > kMaxBlocks)
    return std::string(shape.loads_columns ? "the input" : "the output") + " has " +
           std::to_string(shape.rows * shape.row_classes) + " positions x " +
           std::to_string(int64_t{shape.columns} * problem.groups) +
           (shape.loads_columns ? " channels" : " filters") + ": more tiles than one launch can carry";
  return {};
}

const GemmConfig& simt_config(DType dtype) { return dtype == DType::kFloat64 ? kSimt64x32 : kSimt64x64; }

GemmConfig choose_config(const ConvProblem& problem, const GemmShape& shape, DType dtype, bool aligned,
                         const DeviceProperties& device) {
  GemmConfig chosen = simt_config(dtype);
  double least = gemm_cost(chosen, problem, shape, dtype, device).microseconds();
  for (const GemmConfig& config : kGemmConfigs) {
    if (!why_not_config(config, problem, shape, dtype, aligned, device).empty()) continue;
    const double microseconds = gemm_cost(config, problem, shape, dtype, device).microseconds();
    if (microseconds >= least) continue;
    chosen = config;
    least = microseconds;
  }
  return chosen;
}

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0; }

void set_shape(GemmParams& params, const GemmShape& shape, const GemmConfig& config, DType dtype) {
  params.depth = shape.depth;
  params.source_pitch = shape.depth * params.problem.groups;
  params.columns = shape.columns;
  params.result_pitch = shape.columns * params.problem.groups;
  params.row_tiles = row_tiles(shape, config);
  params.column_tiles_of_group = static_cast<int32_t>(ceil_div(shape.columns, config.block_n));
  params.vector_store =
      int64_t{shape.columns} * element_bytes(dtype) % kVectorBytes == 0 && is_aligned(params.result);

  const ConvProblem& problem = params.problem;
  params.weight_tap_stride = problem.channels_per_group();
  const int64_t filter_stride = problem.taps() * params.weight_tap_stride;
  params.weight_group_stride = problem.filters_per_group() * filter_stride;
  params.weight_column_stride = shape.loads_columns ? 1 : filter_stride;
  params.weight_depth_stride = shape.loads_columns ? filter_stride : 1;
}

}  // namespace maskconv
