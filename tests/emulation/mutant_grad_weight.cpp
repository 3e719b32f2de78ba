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
GradWeightCounters run(const GradWeightArguments& arguments, int32_t splits, const LaunchOptions& options,
                       Register register_arrays) {
  const GradWeightPlan plan = plan_grad_weight(grad_weight::kConfigs[kIndex], splits, arguments.problem,
                                               arguments.dtype, DeviceProperties{});
  return run_grad_weight<Element>(grad_weight::Indices<kIndex>(), arguments, plan, options, register_arrays);
}

}  // namespace

extern "C" int run_grad_weight(const MutantCall& call) {
  return call_grad_weight(
      [](const GradWeightArguments& arguments, auto... rest) {
        return arguments.dtype == DType::kBFloat16 ? run<kMma, bf16>(arguments, rest...)
                                                   : run<kFloat32, float>(arguments, rest...);
      },
      call);
}
