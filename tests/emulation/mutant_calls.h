// The C functions of the libraries of mutants, as mutant_library.py calls them, around a launch of the
// arguments they are given: launch(arguments, options, memory).
#pragma once

#include "mutant_library.h"
#include "plan/forward_params.h"
#include "plan/grad_input_params.h"
#include "plan/grad_weight_params.h"

namespace maskconv::emulation {

struct MutantArrays {
  void* const* at;
  const int64_t* bytes;

  // Those from `first_written` to `last_written` are.
  template <size_t kCount>
  void add(GlobalMemory& memory, const char* const (&names)[kCount], size_t first_written,
           size_t last_written = kCount - 1) const {
    for (size_t i = 0; i < kCount; ++i)
      if (at[i] != nullptr) memory.add(at[i], bytes[i], i >= first_written && i <= last_written, names[i]);
  }
};

template <class Arguments>
Arguments mutant_arguments(const int64_t* problem, int64_t is_bfloat16) {
  Arguments arguments;
  arguments.problem = read_problem(problem);
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  return arguments;
}

// The arrays: input, mask, weight, bias, window sums and valid(q) counted before, or null, output, out_mask,
// window_sum, of which the last three are written, row_order and weight_sum. What follows the problem's
// integers is said of the windows: their channels, window size, and whether they are soft.
template <class Launch>
int call_forward(Launch run, const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                 const MutantArrays& arrays, uint64_t seed, int64_t* counted, char* message, int64_t size) {
  auto arguments = mutant_arguments<ForwardArguments>(problem, is_bfloat16);
  arguments.problem.threshold = threshold;
  arguments.problem.fill = fill;
  arguments.input = arrays.at[0];
  arguments.mask = static_cast<const uint8_t*>(arrays.at[1]);
  arguments.weight = arrays.at[2];
  arguments.bias = arrays.at[3];
  const int64_t* given = problem + kProblemIntegers;
  arguments.given = {arrays.at[4], static_cast<const uint8_t*>(arrays.at[5]), static_cast<int32_t>(given[0]),
                     static_cast<int32_t>(given[1]), given[2] != 0};
  arguments.output = arrays.at[6];
  arguments.out_mask = arrays.at[7];
  arguments.window_sum = static_cast<int32_t*>(arrays.at[8]);
  arguments.row_order = static_cast<const uint32_t*>(arrays.at[9]);
  arguments.weight_sum = arrays.at[10];
  return report(
      [&] {
        GlobalMemory memory;
        arrays.add(memory,
                   {"input", "mask", "weight", "bias", "given_sum", "given_valid", "output", "out_mask",
                    "window_sum", "row_order", "weight_sum"},
                   6, 8);
        return run(arguments, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
}

// grad, valid, mask, weight, grad_input, which is written, and row_order.
template <class Launch>
int call_grad_input(Launch run, const int64_t* problem, int64_t is_bfloat16, const MutantArrays& arrays,
                    uint64_t seed, int64_t* counted, char* message, int64_t size) {
  auto arguments = mutant_arguments<GradInputArguments>(problem, is_bfloat16);
  arguments.grad = arrays.at[0];
  arguments.valid = static_cast<const uint8_t*>(arrays.at[1]);
  arguments.mask = static_cast<const uint8_t*>(arrays.at[2]);
  arguments.weight = arrays.at[3];
  arguments.grad_input = arrays.at[4];
  arguments.row_order = static_cast<const uint32_t*>(arrays.at[5]);
  return report(
      [&] {
        GlobalMemory memory;
        arrays.add(memory, {"grad", "valid", "mask", "weight", "grad_input", "row_order"}, 4, 4);
        return run(arguments, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
}

// `run` is given a function that registers the arrays, since it launches several kernels.
template <class Launch>
int call_grad_weight(Launch run, const int64_t* problem, int64_t is_bfloat16, const MutantArrays& arrays,
                     uint64_t seed, int64_t* counted, char* message, int64_t size) {
  auto arguments = mutant_arguments<GradWeightArguments>(problem, is_bfloat16);
  arguments.grad = arrays.at[0];
  arguments.valid = static_cast<const uint8_t*>(arrays.at[1]);
  arguments.input = arrays.at[2];
  arguments.mask = static_cast<const uint8_t*>(arrays.at[3]);
  arguments.result = arrays.at[4];
  const auto register_arrays = [&](GlobalMemory& memory) {
    arrays.add(memory, {"grad", "valid", "input", "mask", "grad_weight"}, 4);
  };
  return report([&] { return run(arguments, LaunchOptions{seed, false}, register_arrays); }, counted, message,
                size);
}

}  // namespace maskconv::emulation
