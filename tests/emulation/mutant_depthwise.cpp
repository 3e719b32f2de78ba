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

extern "C" int run_forward(const MutantCall& call) { return call_forward(Run<Forward>(), call); }

extern "C" int run_grad_input(const MutantCall& call) { return call_grad_input(Run<GradInput>(), call); }

extern "C" int run_grad_weight(const MutantCall& call) {
  return call_grad_weight(
      [](const GradWeightArguments& arguments, int32_t splits, const LaunchOptions& options,
         auto register_arrays) {
        const auto plan = plan_depthwise_grad_weight(arguments, splits, DeviceProperties{});
        return arguments.dtype == DType::kBFloat16
                   ? run_depthwise_grad_weight<bf16, kVector>(arguments, plan, options, register_arrays)
                   : run_depthwise_grad_weight<float, 1>(arguments, plan, options, register_arrays);
      },
      call);
}
