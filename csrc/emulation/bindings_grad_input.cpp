// The grad_input kernels over NumPy arrays, and their planner: what _emulation offers the tests.

#include "emulation/arrays.h"
#include "emulation/gemm_launch.h"
#include "emulation/problem.h"
#include "kernels/grad_input.cuh"
#include "plan/grad_input_planner.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Arrays as the kernels take them, the last written in place; row_order may be left out. Without a config
// name the planner chooses.
template <class Element>
py::dict grad_input(GradInputArguments arguments, const py::dict& arrays, const std::string& config_name,
                    const LaunchOptions& options) {
  const ConvProblem& problem = arguments.problem;
  GlobalMemory memory;
  read_grad_input_arrays<Element>(arguments, arrays, memory);
  const GemmShape shape = grad_input_shape(problem, arguments.row_order != nullptr);
  const GemmConfig config =
      config_for(config_name, problem, shape, arguments.dtype, operands_aligned(arguments));
  const GradInputParams params = make_grad_input_params(arguments, config);
  const Counters counters = launch_gemm<GradInput, Element>(config, params, options, memory);
  py::dict result;
  result["config"] = name(config);
  result["counters"] = to_dict(counters);
  return result;
}

py::dict grad_input_any(const py::dict& problem, const std::string& dtype, const py::dict& arrays,
                        const std::string& config, uint64_t seed, bool preempt) {
  GradInputArguments arguments;
  arguments.problem = to_problem(problem);
  arguments.dtype = to_dtype(dtype);
  return with_element(arguments.dtype, [&]<class Element>(Element) {
    return grad_input<Element>(arguments, arrays, config, {seed, preempt});
  });
}

}  // namespace

void bind_grad_input(py::module_& module) {
  using namespace pybind11::literals;
  module.def("grad_input", &grad_input_any, "problem"_a, "dtype"_a, "arrays"_a, "config"_a = "", "seed"_a = 0,
             "preempt"_a = false,
             "Runs a grad_input kernel over the arrays; returns the config's name and the counters.");
  module.def(
      "choose_grad_input",
      [](const py::dict& problem, const std::string& dtype, bool aligned, const DeviceProperties& device) {
        const ConvProblem p = to_problem(problem);
        return name(choose_config(p, grad_input_shape(p), to_dtype(dtype), aligned, device));
      },
      "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "Name of the config the planner chooses.");
  module.def(
      "why_not_grad_input",
      [](const py::dict& problem, const std::string& dtype, const DeviceProperties& device) {
        return why_not_grad_input(to_problem(problem), to_dtype(dtype), device);
      },
      "problem"_a, "dtype"_a, "device"_a = DeviceProperties{},
      "Why the CUDA grad_input cannot run the problem; empty if it can.");
}

}  // namespace maskconv::emulation
