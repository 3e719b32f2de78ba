#include "plan/few_channels.h"

#include <cmath>
#include <limits>

namespace maskconv {
namespace few_channels {
namespace {

constexpr int32_t kChannelsOfChunk = 8;  // 16 bytes of fp16 or bf16
constexpr int32_t kMmaComputeCapability = 80;
constexpr int64_t kMaxBlocks = std::numeric_limits<int32_t>::max();  // what grid.x carries

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

int64_t column_tiles(const GemmConfig& config, int64_t columns) {
  return (columns + config.block_n - 1) / config.block_n;
}

}  // namespace

const GemmConfig& config_for(const GemmShape& shape, DType dtype) {
  if (!is_half(dtype)) return kSimt128x16;
  return shape.columns <= kPacked128x32.block_n ? kPacked128x32 : kPacked128x64;
}

const GemmConfig& weight_config_for(const ConvProblem& problem) {
  return problem.filters_per_group() <= kWeight32x64.block_m ? kWeight32x64 : kWeight64x64;
}

}  // namespace few_channels

std::string why_not_few_channels(const ConvProblem& problem, const GemmShape& shape, DType dtype,
                                 bool aligned, const DeviceProperties& device) {
  using namespace few_channels;
  const GemmConfig& config = config_for(shape, dtype);
  const auto of_group = [&](bool depth) {
    return std::to_string(depth ? shape.depth : shape.columns) +
           (depth == shape.loads_columns ? " filters" : " channels") + " a group";
  };
  if (is_half(dtype)) {
    if (device.compute_capability < kMmaComputeCapability)
      return "the few-channels kernel needs compute capability 8.0 for this type";
    if (aligned && shape.depth % kChannelsOfChunk == 0 &&
        (!shape.loads_columns || shape.columns % kChannelsOfChunk == 0))
      return "the implicit GEMM loads " + of_group(true) + " 16 bytes at a time";
  } else if (shape.columns > config.block_n) {
    return "the few-channels kernel is for at most " + std::to_string(config.block_n) + " columns, got " +
           of_group(false);
  }
  const int32_t shared = gemm_layout(config, dtype, problem.taps()).total;
  if (shared > device.shared_bytes_per_block)
    return "the few-channels kernel needs " + std::to_string(shared) + " bytes of shared memory for " +
           std::to_string(problem.taps()) + " taps, this device has " +
           std::to_string(device.shared_bytes_per_block);
  if (row_tiles(shape, config) * column_tiles(config, shape.columns) * problem.groups > kMaxBlocks)
    return "the few-channels kernel has more tiles than one launch can carry";
  return {};
}

std::string why_not_few_channels_grad_weight(const ConvProblem& problem, DType dtype, bool aligned,
                                             const DeviceProperties& device) {
  using namespace few_channels;
  if (!is_half(dtype)) return "the few-channels kernel of grad_weight computes in float16 and bfloat16 only";
  if (device.compute_capability < kMmaComputeCapability)
    return "the few-channels kernel needs compute capability 8.0 for this type";
  if (aligned && problem.channels_per_group() % kChannelsOfChunk == 0 &&
      problem.filters_per_group() % kChannelsOfChunk == 0)
    return "the implicit GEMM loads channels and filters 16 bytes at a time";
  const GemmConfig& config = weight_config_for(problem);
  const int32_t shared = grad_weight::layout(config, dtype).total;
  if (shared > device.shared_bytes_per_block)
    return "the few-channels kernel needs " + std::to_string(shared) +
           " bytes of shared memory, this device has " + std::to_string(device.shared_bytes_per_block);
  const int64_t columns = int64_t{problem.taps()} * problem.channels_per_group();
  const int64_t filter_tiles = (problem.filters_per_group() + config.block_m - 1) / config.block_m;
  if (column_tiles(config, columns) * filter_tiles * problem.groups > kMaxBlocks)
    return "the few-channels kernel has more tiles than one launch can carry";
  return why_not_reach(problem);
}

Work few_channels_work(const ConvProblem& problem, const GemmShape& shape, DType dtype) {
  const GemmConfig& config = few_channels::config_for(shape, dtype);
  const double elements = static_cast<double>(problem.batch * problem.input_positions() * problem.channels +
                                              problem.rows() * problem.filters);
  const double tiles = static_cast<double>(
      row_tiles(shape, config) * few_channels::column_tiles(config, shape.columns) * problem.groups);
  // Of a stride's classes, each has its share of the taps; those that a tile visits are packed.
  const double taps = static_cast<double>(problem.taps()) / static_cast<double>(shape.row_classes);
  const double steps = std::ceil(taps * shape.depth / config.block_k);
  return {elements * element_bytes(dtype), tiles * config.block_m * config.block_n * steps * config.block_k};
}

}  // namespace maskconv
