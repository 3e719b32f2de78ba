// The grad_weight kernels over NumPy arrays, and their planner: what _emulation offers the tests.

#include "emulation/arrays.h"
#include "emulation/grad_weight_launch.h"
#include "emulation/problem.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Arrays as the kernels take them, the last written in place. Without a config name the planner chooses, and
// with `splits` 0.
template <class Element>
py::dict run(GradWeightArguments arguments, const py::dict& arrays, const std::string& config_name,
             int32_t splits, const LaunchOptions& options) {
  const ConvProblem& problem = arguments.problem;
  const auto register_arrays = [&](GlobalMemory& memory) {
    read_grad_weight_arrays<Element>(arguments, arrays, memory);
  };
  GlobalMemory checked;
  register_arrays(checked);

  const DeviceProperties device;
  const bool aligned = operands_aligned(arguments);
  GradWeightPlan plan = plan_grad_weight(problem, arguments.dtype, aligned, device);
  if (!config_name.empty()) plan.config = grad_weight_config_named(config_name);
  const std::string why_not = why_not_grad_weight(plan.config, problem, arguments.dtype, aligned, device);
  if (!why_not.empty()) throw std::invalid_argument(why_not);
  plan = plan_grad_weight(plan.config, splits, problem, arguments.dtype, device);

  const GradWeightCounters counters = run_grad_weight<Element>(
      maskconv::grad_weight::ConfigsOf<kDType<Element>>(), arguments, plan, options, register_arrays);
  py::dict result;
  result["config"] = name(plan.config);
  result["splits"] = plan.splits;
  result["counters"] = to_dict(counters.sums);
  result["reduction"] = to_dict(counters.reduction);
  return result;
}

py::dict run_any(const py::dict& problem, const std::string& dtype, const py::dict& arrays,
                 const std::string& config, int32_t splits, uint64_t seed, bool preempt) {
  GradWeightArguments arguments;
  arguments.problem = to_problem(problem);
  arguments.dtype = to_dtype(dtype);
  return with_element(arguments.dtype, [&]<class Element>(Element) {
    return run<Element>(arguments, arrays, config, splits, {seed, preempt});
  });
}

}  // namespace

void bind_grad_weight(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "grad_weight", &run_any, "problem"_a, "dtype"_a, "arrays"_a, "config"_a = "", "splits"_a = 0,
      "seed"_a = 0, "preempt"_a = false,
      "Runs the grad_weight kernels over the arrays; returns what ran, and the counters of the sums and "
      "of the reduction of partial sums.");
  module.def(
      "plan_grad_weight",
      [](const py::dict& problem, const std::string& dtype, bool aligned, const DeviceProperties& device) {
        const GradWeightPlan plan = plan_grad_weight(to_problem(problem), to_dtype(dtype), aligned, device);
        return py::make_tuple(name(plan.config), plan.splits, plan.workspace_bytes);
      },
      "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "The planner's choice: the config's name, splits and bytes of workspace.");
  module.def(
      "grad_weight_rows_per_scan",
      [](const std::string& config) {
        return maskconv::grad_weight::rows_per_scan(grad_weight_config_named(config));
      },
      "config"_a, "Output rows a block looks at before it decides whether to list more.");
}

}  // namespace maskconv::emulation
