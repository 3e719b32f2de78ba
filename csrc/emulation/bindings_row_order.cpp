// What rows are sorted by, over NumPy arrays, and when that is expected to pay.

#include "emulation/bindings.h"
#include "emulation/problem.h"
#include "emulation/row_order_launch.h"
#include "kernels/forward.cuh"
#include "kernels/grad_input.cuh"
#include "plan/choice.h"
#include "plan/row_order.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Arrays as the kernel takes them: keys and numbers are written.
template <class Pass, class Arguments>
py::dict keys_of(const Arguments& arguments, GlobalMemory& memory, const py::dict& arrays,
                 const LaunchOptions& options) {
  const auto params = make_row_key_params(arguments, writable<uint32_t>(memory, arrays["keys"], "keys"),
                                          writable<uint32_t>(memory, arrays["numbers"], "numbers"));
  py::dict result;
  result["bits"] = params.format.bits;
  result["counters"] = to_dict(launch_row_keys<Pass>(params, options, memory));
  return result;
}

py::dict forward_row_keys(const py::dict& problem, const py::dict& arrays, uint64_t seed, bool preempt) {
  GlobalMemory memory;
  ForwardArguments arguments;
  arguments.problem = to_problem(problem);
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  return keys_of<Forward>(arguments, memory, arrays, {seed, preempt});
}

py::dict grad_input_row_keys(const py::dict& problem, const py::dict& arrays, uint64_t seed, bool preempt) {
  GlobalMemory memory;
  GradInputArguments arguments;
  arguments.problem = to_problem(problem);
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  arguments.gradient.valid = readable<uint8_t>(memory, arrays["valid"], "valid");
  return keys_of<GradInput>(arguments, memory, arrays, {seed, preempt});
}

template <class Arguments, Pass kPass>
bool pays(const py::dict& problem, const std::string& dtype, const DeviceProperties& device) {
  Arguments arguments;
  arguments.problem = to_problem(problem);
  arguments.dtype = to_dtype(dtype);
  const Candidate chosen = choice_of(kPass, arguments.problem, arguments.dtype, true, device);
  return expects_row_order_to_pay(arguments, chosen, device);
}

}  // namespace

void bind_row_order(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "forward_row_keys", &forward_row_keys, "problem"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Writes the key and the number of each output position; returns the keys' bits and the counters.");
  module.def("grad_input_row_keys", &grad_input_row_keys, "problem"_a, "arrays"_a, "seed"_a = 0,
             "preempt"_a = false, "The same of input positions.");
  module.def("expects_forward_order_to_pay", &pays<ForwardArguments, Pass::kForward>, "problem"_a, "dtype"_a,
             "device"_a = DeviceProperties{}, "Whether a forward without an order sorts its rows.");
  module.def("expects_grad_input_order_to_pay", &pays<GradInputArguments, Pass::kGradInput>, "problem"_a,
             "dtype"_a, "device"_a = DeviceProperties{},
             "Whether a grad_input without an order sorts its rows.");
  module.def("why_not_row_order", &why_not_row_order, "rows"_a,
             "Why so many rows cannot be ordered; empty if they can.");
}

}  // namespace maskconv::emulation
