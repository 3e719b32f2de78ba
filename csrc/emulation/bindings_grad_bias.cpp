// The kernels of the bias gradient over NumPy arrays.

#include <string>

#include "emulation/bindings.h"
#include "emulation/grad_bias_launch.h"
#include "emulation/problem.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

// Arrays as the kernels take them: partial_sums and grad_bias are written. partial_sums may have more rows
// than needed.
template <class Element>
py::dict run(GradBiasArguments arguments, const py::dict& arrays, const LaunchOptions& options) {
  using Acc = Accumulator<Element>;
  GlobalMemory memory;
  arguments.dtype = kDType<Element>;
  arguments.grad = readable<Element>(memory, arrays["grad"], "grad");
  arguments.valid = readable<uint8_t>(memory, arrays["valid"], "valid");
  arguments.grad_bias = writable<Element>(memory, arrays["grad_bias"], "grad_bias");
  arguments.partial_sums = writable<Acc>(memory, arrays["partial_sums"], "partial_sums");

  const GradBiasParams params = make_grad_bias_params(arguments);
  py::dict result;
  result["vector"] = params.vector;
  result["row_blocks"] = params.row_blocks;
  result["counters"] = to_dict(launch_grad_bias<Element>(params, options, memory));
  return result;
}

py::dict run_any(const py::dict& from, const std::string& dtype, const py::dict& arrays, uint64_t seed,
                 bool preempt) {
  GradBiasArguments arguments;
  GradBiasProblem& problem = arguments.problem;
  problem.batch = from["batch"].cast<int64_t>();
  problem.positions = from["positions"].cast<int64_t>();
  problem.filters = from["filters"].cast<int32_t>();
  problem.window_batch = from["window_batch"].cast<int64_t>();
  problem.window_channels = from["window_channels"].cast<int32_t>();
  const LaunchOptions options{seed, preempt};
  switch (to_dtype(dtype)) {
    case DType::kFloat64:
      return run<double>(arguments, arrays, options);
    case DType::kFloat32:
      return run<float>(arguments, arrays, options);
    case DType::kBFloat16:
      return run<bf16>(arguments, arrays, options);
    default:
      return run<f16>(arguments, arrays, options);
  }
}

}  // namespace

void bind_grad_bias(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "grad_bias", &run_any, "problem"_a, "dtype"_a, "arrays"_a, "seed"_a = 0, "preempt"_a = false,
      "Runs both kernels over the arrays; returns the vector width, the row blocks and the counters of "
      "the first.");
}

}  // namespace maskconv::emulation
