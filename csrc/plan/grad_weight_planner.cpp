#include "plan/grad_weight_planner.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace maskconv {
namespace grad_weight {  // for its tiles, not those of plan/gemm_config.h
namespace {

constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxGrid = std::numeric_limits<int32_t>::max();  // what grid.x carries

// Costs are times, in units of what one multiprocessor takes for a (row, filter, column) of a large tile on
// tensor cores. Besides, a row of a tile has block_m + block_n values to be loaded.
constexpr int64_t kLoadCost = 16;
constexpr int64_t kTf32Cost = 2;  // both products and loads
constexpr int64_t kSimtCost = 14;
constexpr int64_t kBlockCost = 256 * 128 * 128;  // what a block does besides its rows
constexpr int64_t kPartialSumCost = 5;           // to write and read one, by the whole device at 3 bytes/ns

// A tile with columns of two taps reduces over the rows either needs: a fifth more under a mask of patches.
constexpr double kSharedTileCost = 1.2;

constexpr int64_t kMaxSplits = 512;
constexpr int64_t kMaxWaves = 16;  // of that many the last one's idle part is little
constexpr int64_t kMinRowsPerSplit = 256;
constexpr int32_t kFewFilters = 16;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int64_t columns(const ConvProblem& problem) { return int64_t{problem.taps()} * problem.channels_per_group(); }

// Of one group, in filters x columns.
int64_t padded_area(const GemmConfig& config, const ConvProblem& problem) {
  return round_up(problem.filters_per_group(), config.block_m) * round_up(columns(problem), config.block_n);
}

int64_t tiles(const GemmConfig& config, const ConvProblem& problem) {
  return padded_area(config, problem) / (int64_t{config.block_m} * config.block_n) * problem.groups;
}

int64_t workspace_bytes(const ConvProblem& problem, DType dtype, int64_t splits) {
  return splits > 1 ? splits * problem.filters * columns(problem) * accumulator_bytes(dtype) : 0;
}

int64_t max_splits(const GemmConfig& config, const ConvProblem& problem, DType dtype) {
  const int64_t room = grad_weight_workspace_room(problem, dtype);
  const int64_t one_part = std::max<int64_t>(workspace_bytes(problem, dtype, 2) / 2, 1);
  const int64_t blocks_of_split = std::max<int64_t>(tiles(config, problem), 1);
  return std::min(
      {kMaxSplits, room / one_part, problem.rows() / kMinRowsPerSplit, kMaxGrid / blocks_of_split});
}

Cost to_cost(double units, const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  Cost cost = memory_cost(pass_bytes(problem, dtype), device);
  cost.arithmetic = macs_to_microseconds(units, Arithmetic::kTensorHalf, device);
  return cost;
}

struct Choice {
  int32_t splits = 1;
  double cost = std::numeric_limits<double>::infinity();
};

double cost_of_row(const GemmConfig& config, const ConvProblem& problem) {
  const int64_t cells = int64_t{config.block_m} * config.block_n;
  if (config.kernel == GemmKernel::kSimt) return static_cast<double>(kSimtCost * cells);
  const int64_t of_type = config.kernel == GemmKernel::kTf32 ? kTf32Cost : 1;
  const double cost = static_cast<double>(of_type * (cells + kLoadCost * (config.block_m + config.block_n)));
  const bool shared =
      problem.mask_batch > 0 && problem.taps() > 1 && problem.channels_per_group() % config.block_n != 0;
  return shared ? kSharedTileCost * cost : cost;
}

Choice choose_splits(const GemmConfig& config, const ConvProblem& problem, DType dtype,
                     const DeviceProperties& device) {
  const int64_t cells = int64_t{config.block_m} * config.block_n;
  const double row_cost = cost_of_row(config, problem);
  const int64_t tile_count = tiles(config, problem);
  const int64_t most = max_splits(config, problem, dtype);
  Choice best;
  const auto consider = [&](int64_t splits) {
    const int64_t waves = (tile_count * splits + device.multiprocessors - 1) / device.multiprocessors;
    const int64_t partial_sums = splits > 1 ? splits * tile_count * cells : 0;
    const double of_block = static_cast<double>(problem.rows() / splits) * row_cost + kBlockCost;
    const double cost =
        static_cast<double>(waves) * of_block + static_cast<double>(kPartialSumCost * partial_sums);
    if (cost < best.cost) best = {static_cast<int32_t>(splits), cost};
  };
  consider(1);
  for (int64_t waves = 1; waves <= kMaxWaves && tile_count > 0; ++waves) {  // filled as well as they can be
    const int64_t splits = std::min(waves * device.multiprocessors / tile_count, most);
    if (splits > 1) consider(splits);
  }
  return best;
}

const GemmConfig& simt_config(const ConvProblem& problem, DType dtype) {
  const bool few = problem.filters_per_group() <= kFewFilters;
  if (dtype == DType::kFloat64) return few ? kSimt16x32 : kSimt64x32;
  return few ? kSimt16x64 : kSimt64x64;
}

std::string why_not_mma(const GemmConfig& config, const ConvProblem& problem, DType dtype, bool aligned,
                        const DeviceProperties& device) {
  const std::string why_not = why_not_tensor_cores(config, problem, dtype, device);
  if (!why_not.empty()) return why_not;
  const int32_t unit = tensor_core_channels(dtype);
  for (const auto& [what, count] :
       {std::pair{"channels", problem.channels_per_group()}, {"filters", problem.filters_per_group()}})
    if (count % unit != 0)
      return name(config) + " needs a multiple of " + std::to_string(unit) + " " + what + " a group, got " +
             std::to_string(count);
  if (!aligned) return name(config) + " needs grad, input and result to start on a 16-byte boundary";
  return {};
}

bool is_double(const GemmConfig& config) { return config == kSimt64x32 || config == kSimt16x32; }

GemmConfig choose_config(const ConvProblem& problem, DType dtype, bool aligned,
                         const DeviceProperties& device) {
  GemmConfig chosen = simt_config(problem, dtype);
  double least = std::numeric_limits<double>::infinity();
  for (const GemmConfig& config :
       {kMma128x128, kMma64x128, kMma64x64, kTf32_128x128, kTf32_64x128, kTf32_64x64}) {
    if (!why_not_grad_weight(config, problem, dtype, aligned, device).empty()) continue;
    const double cost = choose_splits(config, problem, dtype, device).cost;
    if (cost >= least) continue;
    chosen = config;
    least = cost;
  }
  return chosen;
}

}  // namespace
}  // namespace grad_weight

int64_t grad_weight_workspace_room(const ConvProblem& problem, DType dtype) {
  const int64_t input = problem.batch * problem.input_positions() * problem.channels;
  const int64_t grad = problem.rows() * problem.filters;
  return std::min((input + grad) / 2 * element_bytes(dtype), kMaxGradWeightWorkspace);
}

GemmConfig grad_weight_config_named(const std::string& wanted) {
  std::string known;
  for (const GemmConfig& config : grad_weight::kConfigs) {
    if (name(config) == wanted) return config;
    known += (known.empty() ? "" : ", ") + name(config);
  }
  throw std::invalid_argument("no tile is named '" + wanted + "'; there are " + known);
}

std::string why_not_grad_weight(const GemmConfig& config, const ConvProblem& problem, DType dtype,
                                bool aligned, const DeviceProperties& device) {
  for (int axis = 0; axis < kAxes; ++axis) {
    const int64_t reach = int64_t{problem.output[axis] - 1} * problem.stride[axis] +
                          int64_t{problem.kernel[axis] - 1} * problem.dilation[axis];
    if (reach > grad_weight::kMaxExtent)
      return "the windows reach over " + std::to_string(reach + 1) +
             " positions of one axis; the CUDA kernel counts them in 32 bits";
  }
  if (config.on_tensor_cores()) {
    const std::string why_not = grad_weight::why_not_mma(config, problem, dtype, aligned, device);
    if (!why_not.empty()) return why_not;
  } else if ((dtype == DType::kFloat64) != grad_weight::is_double(config)) {
    return name(config) +
           (dtype == DType::kFloat64 ? " does not compute in float64" : " computes in float64 only");
  }
  const int32_t shared = grad_weight::layout(config, dtype).total;
  if (shared > device.shared_bytes_per_block)
    return name(config) + " needs " + std::to_string(shared) + " bytes of shared memory, this device has " +
           std::to_string(device.shared_bytes_per_block);
  if (grad_weight::tiles(config, problem) > grad_weight::kMaxGrid)
    return "the weight has " + std::to_string(problem.filters) + " x " +
           std::to_string(grad_weight::columns(problem)) + " elements: more tiles than one launch can carry";
  return {};
}

GradWeightPlan plan_grad_weight(const GemmConfig& config, int32_t splits, const ConvProblem& problem,
                                DType dtype, const DeviceProperties& device) {
  const grad_weight::Choice choice = grad_weight::choose_splits(config, problem, dtype, device);
  const int32_t chosen = splits > 0 ? splits : choice.splits;
  return {config, chosen, grad_weight::workspace_bytes(problem, dtype, chosen),
          grad_weight::to_cost(choice.cost, problem, dtype, device)};
}

GradWeightPlan plan_grad_weight(const ConvProblem& problem, DType dtype, bool aligned,
                                const DeviceProperties& device) {
  const GemmConfig config = grad_weight::choose_config(problem, dtype, aligned, device);
  return plan_grad_weight(config, 0, problem, dtype, device);
}

bool operands_aligned(const GradWeightArguments& arguments) {
  return is_aligned(arguments.gradient.grad) && is_aligned(arguments.input) && is_aligned(arguments.result);
}

GradWeightParams make_grad_weight_params(const GradWeightArguments& arguments, const GradWeightPlan& plan) {
  const ConvProblem& problem = arguments.problem;
  GradWeightParams params;
  static_cast<GradWeightArguments&>(params) = arguments;
  params.splits = plan.splits;
  params.rows_per_split = (problem.rows() + plan.splits - 1) / plan.splits;
  params.filter_tiles = static_cast<int32_t>(
      grad_weight::round_up(problem.filters_per_group(), plan.config.block_m) / plan.config.block_m);
  params.column_tiles =
      grad_weight::round_up(grad_weight::columns(problem), plan.config.block_n) / plan.config.block_n;
  return params;
}

}  // namespace maskconv
