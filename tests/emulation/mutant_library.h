// What the libraries of mutants share: one C function each, called through ctypes.
#pragma once

#include <cstdint>
#include <cstring>
#include <exception>
#include <string>

#include "emulation/launch.h"
#include "plan/gemm_planner.h"

namespace maskconv::emulation {

// What float32 runs on.
#ifdef MASKCONV_MUTANT_TF32
inline constexpr bool kTf32 = true;
#else
inline constexpr bool kTf32 = false;
#endif

// The fields of a ConvProblem in order, without the two doubles: so many integers.
constexpr int kProblemIntegers = 4 + 6 * kAxes + 5;
inline ConvProblem read_problem(const int64_t* integers) {
  const auto next = [&integers] { return static_cast<int32_t>(*integers++); };
  ConvProblem problem;
  problem.batch = next();
  problem.channels = next();
  problem.filters = next();
  problem.groups = next();
  for (auto* axes :
       {problem.input, problem.output, problem.kernel, problem.stride, problem.padding, problem.dilation})
    for (int axis = 0; axis < kAxes; ++axis) axes[axis] = next();
  problem.mask_batch = next();
  problem.pad_is_valid = next() != 0;
  problem.normalization = static_cast<Normalization>(next());
  problem.mask_update = static_cast<MaskUpdate>(next());
  problem.fill_with_bias = next() != 0;
  return problem;
}

// Counts what the launch did. Returns 0, or 1 with the error in `message`.
template <class Launch>
int report(Launch launch, int64_t* counted, char* message, int64_t size) {
  std::string failure;
  try {
    Counters counters = launch();
    counted[0] = counters[Count::kMma];
    counted[1] = counters[Count::kLdmatrixBankConflicts] + counters[Count::kCpAsyncBankConflicts] +
                 counters[Count::kSharedLoadBankConflicts] + counters[Count::kSharedStoreBankConflicts];
    return 0;
  } catch (const Error& error) {
    failure = error.kind + std::string(": ") + error.what();
  } catch (const std::exception& error) {
    failure = std::string("exception: ") + error.what();
  }
  std::strncpy(message, failure.c_str(), size - 1);
  return 1;
}

}  // namespace maskconv::emulation
