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

  template <size_t kCount>
  void add(GlobalMemory& memory, const char* const (&names)[kCount], size_t first_written) const {
    for (size_t i = 0; i < kCount; ++i)
      if (at[i] != nullptr) memory.add(at[i], bytes[i], i >= first_written, names[i]);
  }
};

template <class Arguments>
Arguments mutant_arguments(const int64_t* problem, int64_t is_bfloat16) {
  Arguments arguments;
  arguments.problem = read_problem(problem);
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  return arguments;
}

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
  arguments.output = arrays.at[4];
  arguments.out_mask = arrays.at[5];
  arguments.window_sum = static_cast<int32_t*>(arrays.at[6]);
  return report(
      [&] {
        GlobalMemory memory;
        arrays.add(memory, {"input", "mask", "weight", "bias", "output", "out_mask", "window_sum"}, 4);
        return run(arguments, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
}

template <class Launch>
int call_grad_input(Launch run, const int64_t* problem, int64_t is_bfloat16, const MutantArrays& arrays,
                    uint64_t seed, int64_t* counted, char* message, int64_t size) {
  auto arguments = mutant_arguments<GradInputArguments>(problem, is_bfloat16);
  arguments.grad = arrays.at[0];
  arguments.valid = static_cast<const uint8_t*>(arrays.at[1]);
  arguments.mask = static_cast<const uint8_t*>(arrays.at[2]);
  arguments.weight = arrays.at[3];
  arguments.grad_input = arrays.at[4];
  return report(
      [&] {
        GlobalMemory memory;
        arrays.add(memory, {"grad", "valid", "mask", "weight", "grad_input"}, 4);
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
