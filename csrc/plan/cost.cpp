#include "plan/cost.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace maskconv {
namespace {

constexpr double kLaunchMicroseconds = 3;
constexpr double kNanosecondsAMicrosecond = 1e3;

// Shares of a peak.
constexpr double kMemoryShare = 0.88;    // of what the memory's clock and width come to
constexpr double kMmaShare = 0.75;       // a cp.async pipeline of mma.sync
constexpr double kGatheredShare = 0.3;   // loads an element at a time are in the way
constexpr double kFmaShare = 0.6;        // operands come through shared memory
constexpr double kFrameworkShare = 0.4;  // others report 290 to 460 of 989 TFLOP/s for dense convolutions

// Bytes a cycle that a multiprocessor gets from L2 when all of them ask: measured by others on A100, H100.
constexpr double kL2BytesPerCycle = 26;

double cycles_to_microseconds(double cycles, const DeviceProperties& device) {
  return cycles / (device.clock_ghz * kNanosecondsAMicrosecond);
}

// Multiply-adds a cycle of a multiprocessor's tensor cores in fp16 and bf16: through mma.sync, and at best.
struct TensorRate {
  double mma_sync;
  double peak;
};

TensorRate tensor_rate(const DeviceProperties& device) {
  switch (device.compute_capability) {
    case 80:
      return {1024, 1024};
    case 90:
      return {1400, 2048};  // mma.sync reaches about two thirds of wgmma
    case 100:
    case 103:
      return {1024, 4096};
    default:
      return {512, 512};  // consumer devices
  }
}

double fma_rate(bool is_double, const DeviceProperties& device) {
  switch (device.compute_capability) {
    case 80:
      return is_double ? 32 : 64;
    case 90:
    case 100:
      return is_double ? 64 : 128;
    default:
      return is_double ? 2 : 128;
  }
}

Arithmetic arithmetic_of(const GemmConfig& config, DType dtype) {
  if (config.kernel == GemmKernel::kMma) return Arithmetic::kTensorHalf;
  if (config.kernel == GemmKernel::kTf32) return Arithmetic::kTensorTf32;
  return dtype == DType::kFloat64 ? Arithmetic::kFma64 : Arithmetic::kFma32;
}

double tensor_bytes(int64_t positions, int32_t channels, DType dtype) {
  return static_cast<double>(positions) * channels * element_bytes(dtype);
}

double input_bytes(const ConvProblem& problem, DType dtype) {
  return tensor_bytes(problem.batch * problem.input_positions(), problem.channels, dtype);
}

double output_bytes(const ConvProblem& problem, DType dtype) {
  return tensor_bytes(problem.rows(), problem.filters, dtype);
}

double weight_elements(const ConvProblem& problem) {
  return static_cast<double>(problem.filters) * problem.taps() * problem.channels_per_group();
}

double mask_bytes(const ConvProblem& problem) {
  return static_cast<double>(problem.mask_batch * problem.input_positions() +
                             problem.window_batch() * problem.output_positions() * 5);
}

double microseconds_of_memory(double bytes, const DeviceProperties& device) {
  return bytes / (kMemoryShare * device.memory_gb_per_s * kNanosecondsAMicrosecond);
}

double attained_rate(Arithmetic arithmetic, const DeviceProperties& device) {
  switch (arithmetic) {
    case Arithmetic::kTensorHalf:
      return kMmaShare * tensor_rate(device).mma_sync;
    case Arithmetic::kTensorTf32:
      return kMmaShare * tensor_rate(device).mma_sync / 2;
    case Arithmetic::kGathered:
      return kGatheredShare * tensor_rate(device).mma_sync;
    case Arithmetic::kFma32:
      return kFmaShare * fma_rate(false, device);
    default:
      return kFmaShare * fma_rate(true, device);
  }
}

// Channels of a group, as tensor cores take them: whole pieces of 16 bytes.
double whole_vectors(int32_t channels, DType dtype) {
  const double elements = static_cast<double>(kVectorBytes) / element_bytes(dtype);
  return std::ceil(channels / elements) * elements;
}

// The framework's convolution, and passes that move so many bytes each.
Cost framework_cost(const ConvProblem& problem, DType dtype, const DeviceProperties& device,
                    std::initializer_list<double> passes) {
  const bool half = dtype == DType::kFloat16 || dtype == DType::kBFloat16;
  const bool tf32 = dtype == DType::kFloat32 && problem.allow_tf32;
  const double rate = half   ? tensor_rate(device).peak  // of one multiprocessor
                      : tf32 ? tensor_rate(device).peak / 2
                             : fma_rate(dtype == DType::kFloat64, device);
  double macs = static_cast<double>(problem.rows()) * weight_elements(problem);
  if (half || tf32)
    for (const int32_t channels : {problem.channels_per_group(), problem.filters_per_group()})
      macs *= whole_vectors(channels, dtype) / std::max(channels, 1);
  Cost cost = memory_cost(input_bytes(problem, dtype) + output_bytes(problem, dtype) +
                              weight_elements(problem) * element_bytes(dtype),
                          device);
  cost.arithmetic = cycles_to_microseconds(macs / (kFrameworkShare * rate * device.multiprocessors), device);
  for (const double bytes : passes)
    if (bytes > 0) cost.overhead += memory_cost(bytes, device).microseconds();
  return cost;
}

}  // namespace

double Cost::microseconds() const { return std::max({arithmetic, l2, memory}) + overhead; }

const char* Cost::bound() const {
  const double most = std::max({arithmetic, l2, memory, overhead});
  if (most == overhead) return "overhead";
  if (most == arithmetic) return "arithmetic";
  return most == l2 ? "L2" : "memory";
}

double macs_to_microseconds(double macs, Arithmetic arithmetic, const DeviceProperties& device) {
  return cycles_to_microseconds(macs / attained_rate(arithmetic, device), device);
}

double pass_bytes(const ConvProblem& problem, DType dtype) {
  return input_bytes(problem, dtype) + output_bytes(problem, dtype) +
         weight_elements(problem) * element_bytes(dtype) + mask_bytes(problem);
}

Cost memory_cost(double bytes, const DeviceProperties& device) {
  return {0, 0, microseconds_of_memory(bytes, device), kLaunchMicroseconds};
}

Cost gemm_cost(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape, DType dtype,
               const DeviceProperties& device) {
  const double column_tiles = std::ceil(static_cast<double>(shape.columns) / config.block_n) * problem.groups;
  const double blocks = static_cast<double>(row_tiles(shape, config)) * column_tiles;
  // Of a stride's classes, each has its share of the taps.
  const double taps = static_cast<double>(problem.taps()) / static_cast<double>(shape.row_classes);
  const double steps = taps * std::ceil(static_cast<double>(shape.depth) / config.block_k);
  const double macs = steps * config.block_m * config.block_n * config.block_k;
  const double loads = steps * (config.block_m + config.block_n) * config.block_k * element_bytes(dtype);
  // The last wave takes as long as a full one.
  const double blocks_of_one = std::ceil(blocks / device.multiprocessors);

  Cost cost = memory_cost(pass_bytes(problem, dtype), device);
  cost.arithmetic = macs_to_microseconds(blocks_of_one * macs, arithmetic_of(config, dtype), device);
  cost.l2 = cycles_to_microseconds(blocks_of_one * loads / kL2BytesPerCycle, device);
  return cost;
}

Cost work_cost(const Work& work, Arithmetic arithmetic, const DeviceProperties& device) {
  Cost cost = memory_cost(work.bytes, device);
  cost.arithmetic = macs_to_microseconds(work.multiply_adds / device.multiprocessors, arithmetic, device);
  return cost;
}

Cost composite_cost(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  const double selected = problem.mask_batch > 0 ? 2 * input_bytes(problem, dtype) : 0;
  return framework_cost(problem, dtype, device,
                        {selected, mask_bytes(problem), 2 * output_bytes(problem, dtype)});
}

Cost gradient_composite_cost(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  const double selected = problem.mask_batch > 0 ? 2 * input_bytes(problem, dtype) : 0;
  return framework_cost(problem, dtype, device, {selected, 2 * output_bytes(problem, dtype)});
}

}  // namespace maskconv
