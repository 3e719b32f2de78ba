// The kernels for masks of any kind over NumPy arrays: window, select, finish.

#include <pybind11/stl.h>

#include <string>

#include "emulation/masks.h"
#include "emulation/masks_launch.h"
#include "emulation/problem.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Calls fn with a value of the element type.
template <class Fn>
py::dict dispatch(const std::string& dtype, const Fn& fn) {
  switch (to_dtype(dtype)) {
    case DType::kFloat64:
      return fn(double{});
    case DType::kFloat32:
      return fn(float{});
    case DType::kBFloat16:
      return fn(bf16{});
    default:
      return fn(f16{});
  }
}

py::dict run_window(const py::dict& problem, const std::string& dtype, const py::dict& mask,
                    const py::dict& arrays, uint64_t seed, bool preempt) {
  return dispatch(dtype, [&](auto element) {
    using Acc = Accumulator<decltype(element)>;
    GlobalMemory memory;
    WindowArguments arguments;
    arguments.problem = to_problem(problem);
    arguments.mask = to_channel_mask<Acc>(memory, mask);
    arguments.wide = sizeof(Acc) == 8;
    const bool soft = arguments.mask.soft;
    const auto sums = [&](const char* name) -> void* {
      if (soft) return writable<Acc>(memory, arrays[name], name);
      return writable<int32_t>(memory, arrays[name], name);
    };
    arguments.channel_sums = sums("channel_sums");
    arguments.sum = sums("window_sum");
    arguments.valid = writable<uint8_t>(memory, arrays["valid"], "valid");
    arguments.fraction = soft ? static_cast<void*>(writable<Acc>(memory, arrays["fraction"], "fraction"))
                              : writable<float>(memory, arrays["fraction"], "fraction");
    const WindowParams params = make_window_params(arguments);
    const LaunchOptions options{seed, preempt};
    py::dict result;
    result["threads_per_sum"] = params.threads_per_sum;
    result["counters"] = to_dict(soft ? launch_window<Acc, Acc>(params, options, memory)
                                      : launch_window<int32_t, uint8_t>(params, options, memory));
    return result;
  });
}

py::dict run_select(const py::dict& problem, const std::string& dtype, const py::dict& mask,
                    const py::dict& arrays, bool channels_last, uint64_t seed, bool preempt) {
  return dispatch(dtype, [&](auto element) {
    using Element = decltype(element);
    using Acc = Accumulator<Element>;
    GlobalMemory memory;
    SelectArguments arguments;
    arguments.problem = to_problem(problem);
    arguments.dtype = kDType<Element>;
    arguments.mask = to_channel_mask<Acc>(memory, mask);
    arguments.channels_last = channels_last;
    arguments.selected = writable<Element>(memory, arrays["selected"], "selected");
    const bool in_place = arrays["x"].is(arrays["selected"]);
    arguments.x = in_place ? arguments.selected : readable<Element>(memory, arrays["x"], "x");
    const SelectParams params = make_select_params(arguments);
    const LaunchOptions options{seed, preempt};
    py::dict result;
    result["vector"] = params.vector;
    result["position_vector"] = params.position_vector;
    result["counters"] =
        to_dict(arguments.mask.soft ? launch_select<Element, Acc>(params, options, memory)
                                    : launch_select<Element, uint8_t>(params, options, memory));
    return result;
  });
}

py::dict run_finish(const py::dict& problem, const std::string& dtype, const py::dict& windows,
                    const py::dict& arrays, uint64_t seed, bool preempt) {
  return dispatch(dtype, [&](auto element) {
    using Element = decltype(element);
    GlobalMemory memory;
    FinishArguments arguments;
    arguments.problem = to_problem(problem);
    arguments.dtype = kDType<Element>;
    arguments.windows = to_windows<Accumulator<Element>>(memory, windows);
    arguments.weight_sum = optional_readable<Accumulator<Element>>(memory, arrays, "weight_sum");
    arguments.bias = readable<Element>(memory, arrays["bias"], "bias");
    arguments.y = writable<Element>(memory, arrays["y"], "y");
    const FinishParams params = make_finish_params(arguments);
    py::dict result;
    result["vector"] = params.vector;
    result["counters"] = to_dict(launch_finish<Element>(params, LaunchOptions{seed, preempt}, memory));
    return result;
  });
}

}  // namespace

void bind_masks(py::module_& module) {
  using namespace pybind11::literals;
  module.def("window", &run_window, "problem"_a, "dtype"_a, "mask"_a, "arrays"_a, "seed"_a = 0,
             "preempt"_a = false, "Counts windows: writes channel_sums, window_sum, valid and fraction.");
  module.def("select", &run_select, "problem"_a, "dtype"_a, "mask"_a, "arrays"_a, "channels_last"_a,
             "seed"_a = 0, "preempt"_a = false, "Writes selected, which may be x itself.");
  module.def("finish", &run_finish, "problem"_a, "dtype"_a, "windows"_a, "arrays"_a, "seed"_a = 0,
             "preempt"_a = false, "Makes results of the sums in y.");
  module.def("why_not_parts", &why_not_parts, "parts"_a,
             "Why the CUDA kernels cannot take a mask of these parts; empty if they can.");
}

}  // namespace maskconv::emulation
