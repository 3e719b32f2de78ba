// The forward kernels over NumPy arrays, and their planner: what _emulation offers the tests.

#include "emulation/arrays.h"
#include "emulation/gemm_launch.h"
#include "emulation/masks.h"
#include "emulation/problem.h"
#include "kernels/forward.cuh"
#include "plan/forward_planner.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Arrays as the kernels take them, the last three written in place, unless `given` has windows counted
// before; row_order may be left out. Without a config name the planner chooses.
template <class Element>
py::dict forward(ForwardArguments arguments, const py::dict& arrays, const std::string& config_name,
                 const LaunchOptions& options) {
  const ConvProblem& problem = arguments.problem;
  GlobalMemory memory;
  read_forward_arrays<Element>(arguments, arrays, memory);
  const GemmConfig config =
      config_for(config_name, problem, forward_shape(problem), arguments.dtype, operands_aligned(arguments));
  const ForwardParams params = make_forward_params(arguments, config);
  const Counters counters = launch_gemm<Forward, Element>(config, params, options, memory);
  py::dict result;
  result["config"] = name(config);
  result["counters"] = to_dict(counters);
  return result;
}

py::dict forward_any(const py::dict& problem, const std::string& dtype, const py::dict& arrays,
                     const std::string& config, uint64_t seed, bool preempt) {
  ForwardArguments arguments;
  arguments.problem = to_problem(problem);
  arguments.dtype = to_dtype(dtype);
  return with_element(arguments.dtype, [&]<class Element>(Element) {
    return forward<Element>(arguments, arrays, config, {seed, preempt});
  });
}

}  // namespace

void bind_forward(py::module_& module) {
  using namespace pybind11::literals;
  py::class_<DeviceProperties>(module, "DeviceProperties")
      .def(py::init([](int32_t compute_capability, int32_t multiprocessors, int32_t shared_bytes_per_block) {
             return DeviceProperties{compute_capability, multiprocessors, shared_bytes_per_block};
           }),
           "compute_capability"_a = DeviceProperties{}.compute_capability,
           "multiprocessors"_a = DeviceProperties{}.multiprocessors,
           "shared_bytes_per_block"_a = DeviceProperties{}.shared_bytes_per_block);

  module.def("forward", &forward_any, "problem"_a, "dtype"_a, "arrays"_a, "config"_a = "", "seed"_a = 0,
             "preempt"_a = false,
             "Runs a forward kernel over the arrays; returns the config's name and the counters.");
  module.def(
      "choose_forward",
      [](const py::dict& problem, const std::string& dtype, bool aligned, const DeviceProperties& device) {
        const ConvProblem p = to_problem(problem);
        return name(choose_config(p, forward_shape(p), to_dtype(dtype), aligned, device));
      },
      "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "Name of the config the planner chooses.");
  module.def(
      "why_not_forward",
      [](const py::dict& problem, const std::string& dtype, const DeviceProperties& device) {
        return why_not_forward(to_problem(problem), to_dtype(dtype), device);
      },
      "problem"_a, "dtype"_a, "device"_a = DeviceProperties{},
      "Why the CUDA forward cannot run the problem; empty if it can.");
  module.def(
      "gemm_shared_bytes",
      [](const std::string& config, const std::string& dtype, int32_t taps) {
        return gemm_layout(gemm_config_named(config), to_dtype(dtype), taps).total;
      },
      "config"_a, "dtype"_a, "taps"_a, "Dynamic shared memory of a block.");
  module.def("gemm_configs", [] {
    py::list names;
    for (const GemmConfig& config : kGemmConfigs) names.append(name(config));
    return names;
  });
}

}  // namespace maskconv::emulation
