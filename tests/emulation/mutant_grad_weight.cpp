// Two grad_weight kernels and the reduction behind one C function: what a mutant is made of, small enough to
// compile in seconds.

#include "emulation/grad_weight_launch.h"
#include "mutant_calls.h"
#include "plan/cost.cpp"
#include "plan/gemm_planner.cpp"
#include "plan/grad_weight_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr int32_t kMma = grad_weight::index_of(grad_weight::kMma64x64);
constexpr int32_t kFloat32 =
    grad_weight::index_of(kTf32 ? grad_weight::kTf32_64x64 : grad_weight::kSimt64x64);

template <int32_t kIndex, class Element, class Register>
Counters run(const GradWeightArguments& arguments, int32_t splits, const LaunchOptions& options,
             Register register_) {
  const GradWeightPlan plan = plan_grad_weight(grad_weight::kConfigs[kIndex], splits, arguments.problem,
                                               arguments.dtype, DeviceProperties{});
  GradWeightCounters counters =
      run_grad_weight<Element>(grad_weight::Indices<kIndex>(), arguments, plan, options, register_);
  for (size_t i = 0; i < kCounts; ++i) counters.sums.values[i] += counters.reduction.values[i];
  return counters.sums;
}

}  // namespace

extern "C" int run_grad_weight(const int64_t* problem, int64_t is_bfloat16, void* const* arrays,
                               const int64_t* bytes, int64_t splits, uint64_t seed, int64_t* counted,
                               char* message, int64_t size) {
  const auto launch = [&](const GradWeightArguments& arguments, const LaunchOptions& options,
                          auto register_arrays) {
    const auto count = static_cast<int32_t>(splits);
    return is_bfloat16 != 0 ? run<kMma, bf16>(arguments, count, options, register_arrays)
                            : run<kFloat32, float>(arguments, count, options, register_arrays);
  };
  return call_grad_weight(launch, problem, is_bfloat16, {arrays, bytes}, seed, counted, message, size);
}
