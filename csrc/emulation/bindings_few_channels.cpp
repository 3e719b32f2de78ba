// The few-channels kernel over NumPy arrays, and what the planner says of it.

#include "emulation/arrays.h"
#include "emulation/few_channels_launch.h"
#include "emulation/problem.h"
#include "kernels/forward.cuh"
#include "kernels/grad_input.cuh"
#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

GemmShape shape_of(const ConvProblem& problem, bool of_grad_input) {
  return of_grad_input ? grad_input_shape(problem) : forward_shape(problem);
}

template <class Pass, class Element>
py::dict run(const typename Pass::Params& params, const GemmConfig& config, const LaunchOptions& options,
             GlobalMemory& memory) {
  py::dict result;
  result["config"] = name(config);
  result["counters"] = to_dict(launch_few_channels<Pass, Element>(few_channels::ConfigsOf<kDType<Element>>(),
                                                                  config, params, options, memory));
  return result;
}

template <class Element>
py::dict grad_weight(GradWeightArguments arguments, const py::dict& arrays, int32_t splits,
                     const LaunchOptions& options) {
  if constexpr (!few_channels::kIsHalf<kDType<Element>>) {
    throw std::invalid_argument(
        why_not_few_channels_grad_weight(arguments.problem, arguments.dtype, false, DeviceProperties{}));
  } else {
    GlobalMemory checked;
    read_grad_weight_arrays<Element>(arguments, arrays, checked);
    const GradWeightPlan plan = plan_grad_weight(few_channels::weight_config_for(arguments.problem), splits,
                                                 arguments.problem, arguments.dtype, DeviceProperties{});
    const GradWeightCounters counters = run_few_channels_grad_weight<Element>(
        few_channels::WeightConfigs(), arguments, plan, options,
        [&](GlobalMemory& memory) { read_grad_weight_arrays<Element>(arguments, arrays, memory); });
    py::dict result;
    result["config"] = name(plan.config);
    result["splits"] = plan.splits;
    result["counters"] = to_dict(counters.sums);
    result["reduction"] = to_dict(counters.reduction);
    return result;
  }
}

}  // namespace

void bind_few_channels(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "few_channels_forward",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, uint64_t seed,
         bool preempt) {
        ForwardArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        const GemmConfig config = few_channels::config_for(forward_shape(arguments.problem), arguments.dtype);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          GlobalMemory memory;
          read_forward_arrays<Element>(arguments, arrays, memory);
          return run<Forward, Element>(make_forward_params(arguments, config), config, {seed, preempt},
                                       memory);
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Runs the few-channels forward over the arrays; returns the config's name and the counters.");
  module.def(
      "few_channels_grad_input",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, uint64_t seed,
         bool preempt) {
        GradInputArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        const GemmConfig config = few_channels::config_for(
            grad_input_shape(arguments.problem, arguments.row_order != nullptr), arguments.dtype);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          GlobalMemory memory;
          read_grad_input_arrays<Element>(arguments, arrays, memory);
          return run<GradInput, Element>(make_grad_input_params(arguments, config), config, {seed, preempt},
                                         memory);
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Runs the few-channels grad_input over the arrays; returns the config's name and the counters.");
  module.def(
      "few_channels_grad_weight",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, int32_t splits,
         uint64_t seed, bool preempt) {
        GradWeightArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          return grad_weight<Element>(arguments, arrays, splits, {seed, preempt});
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "splits"_a = 0, "seed"_a = 0, "preempt"_a = false,
      "Runs the few-channels grad_weight over the arrays; returns what ran, and the counters of the sums and "
      "of the "
      "reduction of partial sums.");
  module.def(
      "why_not_few_channels_grad_weight",
      [](const py::dict& problem, const std::string& dtype, bool aligned, const DeviceProperties& device) {
        return why_not_few_channels_grad_weight(to_problem(problem), to_dtype(dtype), aligned, device);
      },
      "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "Why the few-channels kernel of grad_weight is not for the problem; empty if it is.");
  module.def(
      "why_not_few_channels",
      [](const py::dict& problem, const std::string& dtype, bool of_grad_input, bool aligned,
         const DeviceProperties& device) {
        const ConvProblem p = to_problem(problem);
        return why_not_few_channels(p, shape_of(p, of_grad_input), to_dtype(dtype), aligned, device);
      },
      "problem"_a, "dtype"_a, "of_grad_input"_a = false, "aligned"_a = true, "device"_a = DeviceProperties{},
      "Why the few-channels kernel is not for the problem; empty if it is.");
  module.def(
      "few_channels_work",
      [](const py::dict& problem, const std::string& dtype, bool of_grad_input) {
        const ConvProblem p = to_problem(problem);
        const Work work = few_channels_work(p, shape_of(p, of_grad_input), to_dtype(dtype));
        return py::make_tuple(work.bytes, work.multiply_adds);
      },
      "problem"_a, "dtype"_a, "of_grad_input"_a = false,
      "Bytes and multiplications of the few-channels kernel.");
}

}  // namespace maskconv::emulation
