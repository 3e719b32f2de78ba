// The forward kernels over NumPy arrays, and their planner: what _emulation offers the tests.

#include "device/element.cuh"
#include "emulation/bindings.h"
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
  arguments.input = readable<Element>(memory, arrays["input"], "input");
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  arguments.weight = readable<Element>(memory, arrays["weight"], "weight");
  arguments.bias = readable<Element>(memory, arrays["bias"], "bias");
  arguments.output = writable<Element>(memory, arrays["output"], "output");
  if (arrays.contains("given")) {
    arguments.given = to_windows<Accumulator<Element>>(memory, arrays["given"]);
  } else if (problem.mask_update == MaskUpdate::kFraction) {
    arguments.out_mask = writable<float>(memory, arrays["out_mask"], "out_mask");
  } else {
    arguments.out_mask = writable<uint8_t>(memory, arrays["out_mask"], "out_mask");
  }
  if (!arrays.contains("given"))
    arguments.window_sum = writable<int32_t>(memory, arrays["window_sum"], "window_sum");
  arguments.row_order = optional_readable<uint32_t>(memory, arrays, "row_order");

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
  const LaunchOptions options{seed, preempt};
  switch (arguments.dtype) {
    case DType::kFloat64:
      return forward<double>(arguments, arrays, config, options);
    case DType::kFloat32:
      return forward<float>(arguments, arrays, config, options);
    case DType::kBFloat16:
      return forward<bf16>(arguments, arrays, config, options);
    default:
      return forward<f16>(arguments, arrays, config, options);
  }
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
