// The few-channels kernels of the three passes behind one C function each; grad_weight in bf16 only.

#include "emulation/few_channels_launch.h"
#include "kernels/forward.cuh"
#include "kernels/grad_input.cuh"
#include "mutant_calls.h"
#include "plan/cost.cpp"
#include "plan/few_channels.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"
#include "plan/grad_input_planner.cpp"
#include "plan/grad_weight_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

ForwardParams make_params(const ForwardArguments& arguments, const GemmConfig& config) {
  return make_forward_params(arguments, config);
}
GradInputParams make_params(const GradInputArguments& arguments, const GemmConfig& config) {
  return make_grad_input_params(arguments, config);
}

template <class Pass, class Element, class Arguments>
Counters run_as(const Arguments& arguments, const GemmShape& shape, const LaunchOptions& options,
                GlobalMemory& memory) {
  const GemmConfig& config = few_channels::config_for(shape, arguments.dtype);
  return launch_few_channels<Pass, Element>(few_channels::ConfigsOf<kDType<Element>>(), config,
                                            make_params(arguments, config), options, memory);
}

template <class Pass>
constexpr auto run_conv = [](const auto& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  const ConvProblem& problem = arguments.problem;
  const GemmShape shape = Pass::kHasBias ? forward_shape(problem) : grad_input_shape(problem);
  return arguments.dtype == DType::kBFloat16 ? run_as<Pass, bf16>(arguments, shape, options, memory)
                                             : run_as<Pass, float>(arguments, shape, options, memory);
};

}  // namespace

extern "C" int run_forward(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                           void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                           char* message, int64_t size) {
  return call_forward(run_conv<Forward>, problem, threshold, fill, is_bfloat16, {arrays, bytes}, seed,
                      counted, message, size);
}

extern "C" int run_grad_input(const int64_t* problem, double, double, int64_t is_bfloat16,
                              void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                              char* message, int64_t size) {
  return call_grad_input(run_conv<GradInput>, problem, is_bfloat16, {arrays, bytes}, seed, counted, message,
                         size);
}

extern "C" int run_grad_weight(const int64_t* problem, int64_t is_bfloat16, void* const* arrays,
                               const int64_t* bytes, int64_t splits, uint64_t seed, int64_t* counted,
                               char* message, int64_t size) {
  const auto launch = [&](const GradWeightArguments& arguments, const LaunchOptions& options,
                          auto register_arrays) {
    const GradWeightPlan plan =
        plan_grad_weight(few_channels::weight_config_for(arguments.problem), static_cast<int32_t>(splits),
                         arguments.problem, arguments.dtype, DeviceProperties{});
    GradWeightCounters counters = run_few_channels_grad_weight<bf16>(few_channels::WeightConfigs(), arguments,
                                                                     plan, options, register_arrays);
    for (size_t i = 0; i < kCounts; ++i) counters.sums.values[i] += counters.reduction.values[i];
    return counters.sums;
  };
  return call_grad_weight(launch, problem, is_bfloat16, {arrays, bytes}, seed, counted, message, size);
}
