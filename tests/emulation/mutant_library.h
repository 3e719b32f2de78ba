// What the libraries of mutants share: C functions of one signature, called through ctypes.
#pragma once

#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
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

// As mutant_library.py fills it in. Each function says what its integers and arrays are; the latter may be
// null.
struct MutantCall {
  int64_t is_bfloat16;  // else float32
  const int64_t* integers;
  double threshold;
  double fill;
  void* const* arrays;
  const int64_t* bytes;
  uint64_t seed;
  int64_t* counted;  // two: MMAs and bank conflicts
  char* message;
  int64_t message_bytes;

  DType dtype() const { return is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32; }
  LaunchOptions options() const { return {seed, false}; }

  // Where the integers begin with those of a problem.
  ConvProblem problem() const {
    const int64_t* field = integers;
    const auto next = [&field] { return static_cast<int32_t>(*field++); };
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
    problem.threshold = threshold;
    problem.fill = fill;
    return problem;
  }
  // What follows these.
  const int64_t* more() const { return integers + kProblemIntegers; }

  template <class T>
  T* array(int index) const {
    return static_cast<T*>(arrays[index]);
  }

  // Makes the arrays known, by name: those from `first_written` to `last_written` may be written.
  void add_arrays(GlobalMemory& memory, std::initializer_list<const char*> names, size_t first_written,
                  size_t last_written) const {
    for (size_t i = 0; i < names.size(); ++i)
      if (arrays[i] != nullptr)
        memory.add(arrays[i], bytes[i], i >= first_written && i <= last_written, names.begin()[i]);
  }
};

// Counts what the launch did. Returns 0, or 1 with the error in the call's message.
template <class Launch>
int report(const MutantCall& call, Launch launch) {
  std::string failure;
  try {
    Counters counters = launch();
    call.counted[0] = counters[Count::kMma];
    call.counted[1] = counters[Count::kLdmatrixBankConflicts] + counters[Count::kCpAsyncBankConflicts] +
                      counters[Count::kSharedLoadBankConflicts] + counters[Count::kSharedStoreBankConflicts];
    return 0;
  } catch (const Error& error) {
    failure = error.kind + std::string(": ") + error.what();
  } catch (const std::exception& error) {
    failure = std::string("exception: ") + error.what();
  }
  std::strncpy(call.message, failure.c_str(), call.message_bytes - 1);
  return 1;
}

}  // namespace maskconv::emulation
