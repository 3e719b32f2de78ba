// The depthwise kernels over NumPy arrays, and what the planner says of them.

#include "emulation/arrays.h"
#include "emulation/depthwise_launch.h"
#include "emulation/problem.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

void require_depthwise(const ConvProblem& problem) {
  const std::string why_not = why_not_depthwise(problem);
  if (!why_not.empty()) throw std::invalid_argument(why_not);
}

py::dict report(int32_t vector, const Counters& counters) {
  py::dict result;
  result["config"] = "depthwise";
  result["vector"] = vector;
  result["counters"] = to_dict(counters);
  return result;
}

template <class Element>
py::dict forward(ForwardArguments arguments, const py::dict& arrays, const LaunchOptions& options) {
  GlobalMemory memory;
  read_forward_arrays<Element>(arguments, arrays, memory);
  const auto params = make_depthwise_params(arguments);
  return report(params.shape.vector, launch_depthwise<Forward, Element>(params, options, memory));
}

template <class Element>
py::dict grad_input(GradInputArguments arguments, const py::dict& arrays, const LaunchOptions& options) {
  GlobalMemory memory;
  read_grad_input_arrays<Element>(arguments, arrays, memory);
  const auto params = make_depthwise_params(arguments);
  return report(params.shape.vector, launch_depthwise<GradInput, Element>(params, options, memory));
}

template <class Element>
py::dict grad_weight(GradWeightArguments arguments, const py::dict& arrays, int32_t splits,
                     const LaunchOptions& options) {
  GlobalMemory checked;
  read_grad_weight_arrays<Element>(arguments, arrays, checked);
  const DepthwiseWeightPlan plan = plan_depthwise_grad_weight(arguments, splits, DeviceProperties{});
  const auto register_arrays = [&](GlobalMemory& memory) {
    read_grad_weight_arrays<Element>(arguments, arrays, memory);
  };
  constexpr int32_t kWidest = depthwise::widest_vector(kDType<Element>);
  const int32_t vector = make_depthwise_weight_params(arguments, plan.splits).shape.vector;
  const auto [sums, reduction] =
      vector == 1 ? run_depthwise_grad_weight<Element, 1>(arguments, plan, options, register_arrays)
                  : run_depthwise_grad_weight<Element, kWidest>(arguments, plan, options, register_arrays);
  py::dict result = report(vector, sums);
  result["splits"] = plan.splits;
  result["reduction"] = to_dict(reduction);
  return result;
}

}  // namespace

void bind_depthwise(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "depthwise_forward",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, uint64_t seed,
         bool preempt) {
        ForwardArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        require_depthwise(arguments.problem);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          return forward<Element>(arguments, arrays, {seed, preempt});
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Runs the depthwise forward over the arrays; returns the vector width and the counters.");
  module.def(
      "depthwise_grad_input",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, uint64_t seed,
         bool preempt) {
        GradInputArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        require_depthwise(arguments.problem);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          return grad_input<Element>(arguments, arrays, {seed, preempt});
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Runs the depthwise grad_input over the arrays; returns the vector width and the counters.");
  module.def(
      "depthwise_grad_weight",
      [](const py::dict& problem, const std::string& dtype, const py::dict& arrays, int32_t splits,
         uint64_t seed, bool preempt) {
        GradWeightArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        require_depthwise(arguments.problem);
        return with_element(arguments.dtype, [&]<class Element>(Element) {
          return grad_weight<Element>(arguments, arrays, splits, {seed, preempt});
        });
      },
      "problem"_a, "dtype"_a, "arrays"_a, "splits"_a = 0, "seed"_a = 0, "preempt"_a = false,
      "Runs the depthwise grad_weight over the arrays; returns the vector width, splits and the counters of "
      "the "
      "sums and of the reduction of partial sums.");
  module.def(
      "plan_depthwise_grad_weight",
      [](const py::dict& problem, const std::string& dtype, const DeviceProperties& device) {
        GradWeightArguments arguments;
        arguments.problem = to_problem(problem);
        arguments.dtype = to_dtype(dtype);
        const DepthwiseWeightPlan plan = plan_depthwise_grad_weight(arguments, 0, device);
        return py::make_tuple(plan.splits, plan.workspace_bytes);
      },
      "problem"_a, "dtype"_a, "device"_a = DeviceProperties{},
      "The planner's splits and bytes of workspace.");
  module.def(
      "why_not_depthwise", [](const py::dict& problem) { return why_not_depthwise(to_problem(problem)); },
      "problem"_a, "Why the depthwise kernels cannot run the problem; empty if they can.");
  module.def(
      "depthwise_work",
      [](const py::dict& problem, const std::string& dtype) {
        const Work work = depthwise_work(to_problem(problem), to_dtype(dtype));
        return py::make_tuple(work.bytes, work.multiply_adds);
      },
      "problem"_a, "dtype"_a, "Bytes and multiplications of the depthwise forward.");
}

}  // namespace maskconv::emulation
