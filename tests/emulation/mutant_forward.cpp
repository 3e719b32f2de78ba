// Two forward kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/gemm_launch.h"
#include "emulation/row_order_launch.h"
#include "kernels/forward.cuh"
#include "mutant_row_order.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

template <GemmConfig kConfig, class Element>
Counters run(const ForwardArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  return launch_instance<Forward, kConfig, Element>(make_forward_params(arguments, kConfig), options, memory);
}

constexpr GemmConfig kFloat32 = kTf32 ? kTf32_64x64 : kSimt64x64;

}  // namespace

// `arrays` and `bytes`: input, mask, weight, bias, window sums and valid(q) counted before, or null, output,
// out_mask, window_sum, of which the last three are written, and row_order. What follows the problem's
// integers is said of the windows: their channels, window size, and whether they are soft.
extern "C" int run_forward(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                           void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                           char* message, int64_t size) {
  constexpr const char* kNames[] = {"input",       "mask",   "weight",   "bias",       "given_sum",
                                    "given_valid", "output", "out_mask", "window_sum", "row_order"};
  constexpr int kArrays = 10;
  const auto is_written = [](int i) { return i >= 6 && i < 9; };
  ForwardArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.problem.threshold = threshold;
  arguments.problem.fill = fill;
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  arguments.input = arrays[0];
  arguments.mask = static_cast<const uint8_t*>(arrays[1]);
  arguments.weight = arrays[2];
  arguments.bias = arrays[3];
  const int64_t* given = problem + kProblemIntegers;
  arguments.given = {arrays[4], static_cast<const uint8_t*>(arrays[5]), static_cast<int32_t>(given[0]),
                     static_cast<int32_t>(given[1]), given[2] != 0};
  arguments.output = arrays[6];
  arguments.out_mask = arrays[7];
  arguments.window_sum = static_cast<int32_t*>(arrays[8]);
  arguments.row_order = static_cast<const uint32_t*>(arrays[9]);

  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < kArrays; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], is_written(i), kNames[i]);
        const LaunchOptions options{seed, false};
        return is_bfloat16 != 0 ? run<kMma64x64, bf16>(arguments, options, memory)
                                : run<kFloat32, float>(arguments, options, memory);
      },
      counted, message, size);
}

// `arrays` and `bytes`: mask, and keys and numbers, which are written. Counted are the bits of the keys.
extern "C" int run_forward_row_keys(const int64_t* problem, double threshold, void* const* arrays,
                                    const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                                    int64_t size) {
  ForwardArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.problem.threshold = threshold;
  arguments.mask = static_cast<const uint8_t*>(arrays[0]);
  return report_row_keys<Forward>(arguments, {{"mask", "keys", "numbers"}}, arrays, bytes, seed, counted,
                                  message, size);
}
