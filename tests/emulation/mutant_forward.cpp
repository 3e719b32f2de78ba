// Two forward kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/gemm_launch.h"
#include "kernels/forward.cuh"
#include "mutant_library.h"
#include "plan/cost.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

template <GemmConfig kConfig, class Element>
Counters run(const ForwardArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  return launch_instance<Forward, kConfig, Element>(make_forward_params(arguments, kConfig), options, memory);
}

constexpr GemmConfig kFloat32 = kTf32 ? kTf32_64x64 : kSimt64x64;

}  // namespace

// `arrays` and `bytes`: input, mask, weight, bias, output, out_mask, window_sum, the last three written.
extern "C" int run_forward(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                           void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                           char* message, int64_t size) {
  constexpr const char* kNames[] = {"input", "mask", "weight", "bias", "output", "out_mask", "window_sum"};
  constexpr int kFirstWritten = 4;
  ForwardArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.problem.threshold = threshold;
  arguments.problem.fill = fill;
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  arguments.input = arrays[0];
  arguments.mask = static_cast<const uint8_t*>(arrays[1]);
  arguments.weight = arrays[2];
  arguments.bias = arrays[3];
  arguments.output = arrays[4];
  arguments.out_mask = arrays[5];
  arguments.window_sum = static_cast<int32_t*>(arrays[6]);

  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < 7; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
        const LaunchOptions options{seed, false};
        return is_bfloat16 != 0 ? run<kMma64x64, bf16>(arguments, options, memory)
                                : run<kFloat32, float>(arguments, options, memory);
      },
      counted, message, size);
}
