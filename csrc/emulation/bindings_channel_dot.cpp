// Products summed over channels, over NumPy arrays.

#include <string>

#include "emulation/arrays.h"
#include "emulation/channel_dot_launch.h"
#include "emulation/masks.h"
#include "emulation/problem.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

py::dict run(const py::dict& problem, const std::string& dtype, const py::dict& mask, const py::dict& arrays,
             uint64_t seed, bool preempt) {
  return with_element(to_dtype(dtype), [&](auto element) {
    using Element = decltype(element);
    GlobalMemory memory;
    ChannelDotArguments arguments;
    arguments.problem = to_problem(problem);
    arguments.dtype = kDType<Element>;
    arguments.mask = to_channel_mask<Accumulator<Element>>(memory, mask);
    arguments.a = readable<Element>(memory, arrays["a"], "a");
    arguments.b = readable<Element>(memory, arrays["b"], "b");
    arguments.dots = writable<Accumulator<Element>>(memory, arrays["dots"], "dots");
    const ChannelDotParams params = make_channel_dot_params(arguments);
    py::dict result;
    result["vector"] = params.vector;
    result["threads_per_dot"] = params.threads_per_dot;
    result["counters"] = to_dict(launch_channel_dot<Element>(params, LaunchOptions{seed, preempt}, memory));
    return result;
  });
}

}  // namespace

void bind_channel_dot(py::module_& module) {
  using namespace pybind11::literals;
  module.def("channel_dot", &run, "problem"_a, "dtype"_a, "mask"_a, "arrays"_a, "seed"_a = 0,
             "preempt"_a = false, "Writes dots: a * b, summed over what each channel of the mask covers.");
}

}  // namespace maskconv::emulation
