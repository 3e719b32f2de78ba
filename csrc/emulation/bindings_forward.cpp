// The forward kernels over NumPy arrays, and their planner: what _emulation offers the tests.

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "device/element.cuh"
#include "emulation/bindings.h"
#include "kernels/forward_mma.cuh"
#include "kernels/forward_simt.cuh"
#include "plan/forward_planner.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

void read_axes(const py::dict& from, const char* key, int32_t (&axes)[kAxes]) {
  const auto values = from[key].cast<std::array<int32_t, kAxes>>();
  std::copy(values.begin(), values.end(), axes);
}

template <class Enum>
Enum chosen(const std::string& wanted, std::initializer_list<std::pair<const char*, Enum>> choices) {
  for (const auto& [name, value] : choices)
    if (wanted == name) return value;
  throw std::invalid_argument("unknown option '" + wanted + "'");
}

// A dict with the fields of ConvProblem, enums as the strings of the Python interface.
ConvProblem to_problem(const py::dict& from) {
  ConvProblem problem;
  problem.batch = from["batch"].cast<int64_t>();
  problem.channels = from["channels"].cast<int32_t>();
  problem.filters = from["filters"].cast<int32_t>();
  problem.groups = from["groups"].cast<int32_t>();
  read_axes(from, "input", problem.input);
  read_axes(from, "output", problem.output);
  read_axes(from, "kernel", problem.kernel);
  read_axes(from, "stride", problem.stride);
  read_axes(from, "padding", problem.padding);
  read_axes(from, "dilation", problem.dilation);
  problem.mask_batch = from["mask_batch"].cast<int64_t>();
  problem.pad_is_valid = from["pad_is_valid"].cast<bool>();
  problem.normalization =
      chosen<Normalization>(from["normalization"].cast<std::string>(), {{"ratio", Normalization::kRatio},
                                                                        {"mean", Normalization::kMean},
                                                                        {"sqrt", Normalization::kSqrt},
                                                                        {"none", Normalization::kNone}});
  problem.mask_update =
      chosen<MaskUpdate>(from["mask_update"].cast<std::string>(), {{"any", MaskUpdate::kAny},
                                                                   {"all", MaskUpdate::kAll},
                                                                   {"center", MaskUpdate::kCenter},
                                                                   {"threshold", MaskUpdate::kThreshold},
                                                                   {"fraction", MaskUpdate::kFraction}});
  problem.threshold = from["threshold"].cast<double>();
  problem.fill = from["fill"].cast<double>();
  problem.fill_with_bias = from["fill_with_bias"].cast<bool>();
  return problem;
}

DType to_dtype(const std::string& wanted) {
  return chosen<DType>(wanted, {{"float32", DType::kFloat32},
                                {"float64", DType::kFloat64},
                                {"bfloat16", DType::kBFloat16},
                                {"float16", DType::kFloat16}});
}

template <ForwardConfig kConfig, class Element>
Counters run_instance(const ForwardParams& params, const LaunchOptions& options, GlobalMemory& memory) {
  constexpr int32_t kIndex = config_index(kConfig);
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(kConfig.threads()), 1, 1};
  const size_t shared = forward_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  if constexpr (kConfig.kernel == ForwardKernel::kMma) {
    return launch(grid, block, shared, options, memory, &forward_mma<kIndex, Element>, params);
  } else {
    return launch(grid, block, shared, options, memory, &forward_simt<kIndex, Element>, params);
  }
}

// The one of kConfigs that equals `config`.
template <class Element, ForwardConfig... kConfigs>
Counters run_matching(const ForwardConfig& config, const ForwardParams& params, const LaunchOptions& options,
                      GlobalMemory& memory) {
  Counters counters;
  const bool found =
      ((config == kConfigs && (counters = run_instance<kConfigs, Element>(params, options, memory), true)) ||
       ...);
  if (!found) throw std::invalid_argument(name(config) + " is not compiled for this element type");
  return counters;
}

// Arrays as the kernels take them, the last three written in place. Without a config name the planner
// chooses.
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
  if (problem.mask_update == MaskUpdate::kFraction) {
    arguments.out_mask = writable<float>(memory, arrays["out_mask"], "out_mask");
  } else {
    arguments.out_mask = writable<uint8_t>(memory, arrays["out_mask"], "out_mask");
  }
  arguments.window_sum = writable<int32_t>(memory, arrays["window_sum"], "window_sum");

  const DeviceProperties device;
  const bool aligned = operands_aligned(arguments);
  const ForwardConfig config = config_name.empty()
                                   ? choose_forward_config(problem, arguments.dtype, aligned, device)
                                   : forward_config_named(config_name);
  const std::string why_not = why_not_config(config, problem, arguments.dtype, aligned, device);
  if (!why_not.empty()) throw std::invalid_argument(why_not);

  const ForwardParams params = make_forward_params(arguments, config);
  Counters counters;
  if (params.blocks() > 0) {  // as launch_forward: an empty grid is no launch
    if constexpr (std::is_same_v<Element, double>) {
      counters = run_matching<double, kSimt64x32>(config, params, options, memory);
    } else if constexpr (std::is_same_v<Element, float>) {
      counters = run_matching<float, kSimt64x64>(config, params, options, memory);
    } else {
      counters = run_matching<Element, kMma128x128, kMma128x64, kMma64x64, kSimt64x64>(config, params,
                                                                                       options, memory);
    }
  }
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
        return name(choose_forward_config(to_problem(problem), to_dtype(dtype), aligned, device));
      },
      "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "Name of the config the planner chooses.");
  module.def(
      "why_not_forward",
      [](const py::dict& problem, const std::string& dtype, bool soft_mask, int32_t mask_channels,
         const DeviceProperties& device) {
        return why_not_forward(to_problem(problem), to_dtype(dtype), {soft_mask, mask_channels}, device);
      },
      "problem"_a, "dtype"_a, "soft_mask"_a = false, "mask_channels"_a = 1, "device"_a = DeviceProperties{},
      "Why the CUDA forward cannot run the problem; empty if it can.");
  module.def(
      "forward_shared_bytes",
      [](const std::string& config, const std::string& dtype, int32_t taps) {
        return forward_layout(forward_config_named(config), to_dtype(dtype), taps).total;
      },
      "config"_a, "dtype"_a, "taps"_a, "Dynamic shared memory of a block.");
  module.def("forward_configs", [] {
    py::list names;
    for (const ForwardConfig& config : kForwardConfigs) names.append(name(config));
    return names;
  });
}

}  // namespace maskconv::emulation
