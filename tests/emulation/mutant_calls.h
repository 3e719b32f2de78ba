// The functions of the libraries of mutants for the passes of a convolution, around a launch of the arguments
// they are given: launch(arguments, options, memory).
#pragma once

#include "mutant_library.h"
#include "plan/forward_params.h"
#include "plan/grad_input_params.h"
#include "plan/grad_weight_params.h"

namespace maskconv::emulation {

// The arrays: input, mask, weight, bias, window sums and valid(q) counted before, or null, output, out_mask,
// window_sum, of which the last three are written, row_order and weight_sum. What follows the problem's
// integers is said of the windows: their channels, window size, and whether they are soft.
template <class Launch>
int call_forward(Launch run, const MutantCall& call) {
  ForwardArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.input = call.arrays[0];
  arguments.mask = call.array<const uint8_t>(1);
  arguments.weight = call.arrays[2];
  arguments.bias = call.arrays[3];
  const int64_t* given = call.more();
  arguments.given = {call.arrays[4], call.array<const uint8_t>(5), static_cast<int32_t>(given[0]),
                     static_cast<int32_t>(given[1]), given[2] != 0};
  arguments.output = call.arrays[6];
  arguments.out_mask = call.arrays[7];
  arguments.window_sum = call.array<int32_t>(8);
  arguments.row_order = call.array<const uint32_t>(9);
  arguments.weight_sum = call.arrays[10];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory,
                    {"input", "mask", "weight", "bias", "given_sum", "given_valid", "output", "out_mask",
                     "window_sum", "row_order", "weight_sum"},
                    6, 8);
    return run(arguments, call.options(), memory);
  });
}

// The first three arrays; the first integer after the problem's is the count of window channels.
inline OutputGradient mutant_gradient(const MutantCall& call) {
  return {call.arrays[0], call.array<const uint8_t>(1), call.arrays[2], static_cast<int32_t>(*call.more())};
}

// grad, valid, scale, mask, weight, grad_input, which is written, and row_order.
template <class Launch>
int call_grad_input(Launch run, const MutantCall& call) {
  GradInputArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.gradient = mutant_gradient(call);
  arguments.mask = call.array<const uint8_t>(3);
  arguments.weight = call.arrays[4];
  arguments.grad_input = call.arrays[5];
  arguments.row_order = call.array<const uint32_t>(6);
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"grad", "valid", "scale", "mask", "weight", "grad_input", "row_order"}, 5, 5);
    return run(arguments, call.options(), memory);
  });
}

// grad, valid, scale, input, mask, grad_weight, which is written. The integers of grad_input, and the splits.
// `run` gets these, too, and in place of memory a function that registers the arrays, since it launches
// several kernels; it returns the counters of the sums and of their reduction.
template <class Launch>
int call_grad_weight(Launch run, const MutantCall& call) {
  GradWeightArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.gradient = mutant_gradient(call);
  arguments.input = call.arrays[3];
  arguments.mask = call.array<const uint8_t>(4);
  arguments.result = call.arrays[5];
  const auto register_arrays = [&](GlobalMemory& memory) {
    call.add_arrays(memory, {"grad", "valid", "scale", "input", "mask", "grad_weight"}, 5, 5);
  };
  return report(call, [&] {
    auto [sums, reduction] =
        run(arguments, static_cast<int32_t>(call.more()[1]), call.options(), register_arrays);
    for (size_t i = 0; i < kCounts; ++i) sums.values[i] += reduction.values[i];
    return sums;
  });
}

}  // namespace maskconv::emulation
