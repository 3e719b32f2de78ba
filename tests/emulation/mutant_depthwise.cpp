// The depthwise kernels of the three passes behind one C function each: bf16 in vectors of channels, float32
// channel by channel.

#include "emulation/depthwise_launch.h"
#include "mutant_calls.h"
#include "plan/cost.cpp"
#include "plan/depthwise.cpp"
#include "plan/depthwise_grad_weight.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"
#include "plan/grad_input_planner.cpp"
#include "plan/grad_weight_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr int32_t kVector = depthwise::widest_vector(DType::kBFloat16);

template <class Pass>
struct Run {
  template <class Arguments>
  Counters operator()(const Arguments& arguments, const LaunchOptions& options, GlobalMemory& memory) const {
    const auto params = make_depthwise_params(arguments);
    return arguments.dtype == DType::kBFloat16
               ? launch_depthwise_instance<Pass, bf16, kVector>(params, options, memory)
               : launch_depthwise_instance<Pass, float, 1>(params, options, memory);
  }
};

}  // namespace

extern "C" int run_forward(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                           void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                           char* message, int64_t size) {
  return call_forward(Run<Forward>(), problem, threshold, fill, is_bfloat16, {arrays, bytes}, seed, counted,
                      message, size);
}

extern "C" int run_grad_input(const int64_t* problem, double, double, int64_t is_bfloat16,
                              void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                              char* message, int64_t size) {
  return call_grad_input(Run<GradInput>(), problem, is_bfloat16, {arrays, bytes}, seed, counted, message,
                         size);
}

extern "C" int run_grad_weight(const int64_t* problem, int64_t is_bfloat16, void* const* arrays,
                               const int64_t* bytes, int64_t splits, uint64_t seed, int64_t* counted,
                               char* message, int64_t size) {
  const auto launch = [&](const GradWeightArguments& arguments, const LaunchOptions& options,
                          auto register_arrays) {
    const auto plan = plan_depthwise_grad_weight(arguments, static_cast<int32_t>(splits), DeviceProperties{});
    auto [sums, reduction] =
        is_bfloat16 != 0 ? run_depthwise_grad_weight<bf16, kVector>(arguments, plan, options, register_arrays)
                         : run_depthwise_grad_weight<float, 1>(arguments, plan, options, register_arrays);
    for (size_t i = 0; i < kCounts; ++i) sums.values[i] += reduction.values[i];
    return sums;
  };
  return call_grad_weight(launch, problem, is_bfloat16, {arrays, bytes}, seed, counted, message, size);
}
