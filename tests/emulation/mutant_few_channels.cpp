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

extern "C" int run_forward(const MutantCall& call) { return call_forward(run_conv<Forward>, call); }

extern "C" int run_grad_input(const MutantCall& call) { return call_grad_input(run_conv<GradInput>, call); }

extern "C" int run_grad_weight(const MutantCall& call) {
  return call_grad_weight(
      [](const GradWeightArguments& arguments, int32_t splits, const LaunchOptions& options,
         auto register_arrays) {
        const GradWeightPlan plan = plan_grad_weight(few_channels::weight_config_for(arguments.problem),
                                                     splits, arguments.problem, arguments.dtype, {});
        return run_few_channels_grad_weight<bf16>(few_channels::WeightConfigs(), arguments, plan, options,
                                                  register_arrays);
      },
      call);
}
