// The arrays of each pass, registered under their names, and kernels' element types by DType.
#pragma once

#include "device/element.cuh"
#include "emulation/bindings.h"
#include "emulation/masks.h"
#include "plan/forward_params.h"
#include "plan/grad_input_params.h"
#include "plan/grad_weight_params.h"

namespace maskconv::emulation {

// Output, out_mask and window_sum are written, the last two unless `given` has windows counted before.
// row_order and weight_sum may be left out.
template <class Element>
void read_forward_arrays(ForwardArguments& arguments, const pybind11::dict& arrays, GlobalMemory& memory) {
  arguments.input = readable<Element>(memory, arrays["input"], "input");
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  arguments.weight = readable<Element>(memory, arrays["weight"], "weight");
  arguments.bias = readable<Element>(memory, arrays["bias"], "bias");
  arguments.output = writable<Element>(memory, arrays["output"], "output");
  arguments.row_order = optional_readable<uint32_t>(memory, arrays, "row_order");
  arguments.weight_sum = optional_readable<Accumulator<Element>>(memory, arrays, "weight_sum");
  if (arrays.contains("given")) {
    arguments.given = to_windows<Accumulator<Element>>(memory, arrays["given"]);
    return;
  }
  if (arguments.problem.mask_update == MaskUpdate::kFraction) {
    arguments.out_mask = writable<float>(memory, arrays["out_mask"], "out_mask");
  } else {
    arguments.out_mask = writable<uint8_t>(memory, arrays["out_mask"], "out_mask");
  }
  arguments.window_sum = writable<int32_t>(memory, arrays["window_sum"], "window_sum");
}

// grad, valid and scale, which may be left out; window_channels is their count of channels.
template <class Element>
OutputGradient to_output_gradient(GlobalMemory& memory, const pybind11::dict& arrays) {
  OutputGradient gradient;
  gradient.grad = readable<Element>(memory, arrays["grad"], "grad");
  gradient.valid = readable<uint8_t>(memory, arrays["valid"], "valid");
  gradient.scale = optional_readable<Accumulator<Element>>(memory, arrays, "scale");
  if (arrays.contains("window_channels"))
    gradient.window_channels = arrays["window_channels"].template cast<int32_t>();
  return gradient;
}

// grad_input is written; row_order may be left out.
template <class Element>
void read_grad_input_arrays(GradInputArguments& arguments, const pybind11::dict& arrays,
                            GlobalMemory& memory) {
  arguments.gradient = to_output_gradient<Element>(memory, arrays);
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  arguments.weight = readable<Element>(memory, arrays["weight"], "weight");
  arguments.grad_input = writable<Element>(memory, arrays["grad_input"], "grad_input");
  arguments.row_order = optional_readable<uint32_t>(memory, arrays, "row_order");
}

// Registers them too, in `memory`; a launch with several kernels does so for each. The last one is written.
template <class Element>
void read_grad_weight_arrays(GradWeightArguments& arguments, const pybind11::dict& arrays,
                             GlobalMemory& memory) {
  arguments.gradient = to_output_gradient<Element>(memory, arrays);
  arguments.input = readable<Element>(memory, arrays["input"], "input");
  arguments.mask = readable<uint8_t>(memory, arrays["mask"], "mask");
  arguments.result = writable<Element>(memory, arrays["grad_weight"], "grad_weight");
}

// run(a value of the element type).
template <class Run>
auto with_element(DType dtype, Run run) {
  switch (dtype) {
    case DType::kFloat64:
      return run(double{});
    case DType::kFloat32:
      return run(float{});
    case DType::kBFloat16:
      return run(bf16{});
    default:
      return run(f16{});
  }
}

}  // namespace maskconv::emulation
