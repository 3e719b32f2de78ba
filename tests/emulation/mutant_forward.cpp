// Two forward kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/launch.h"
#include "kernels/forward.cuh"
#include "kernels/gemm_mma.cuh"
#include "kernels/gemm_simt.cuh"
#include "mutant_library.h"
#include "plan/cost.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr int32_t kMma = config_index(kMma64x64);
constexpr int32_t kSimt = config_index(kSimt64x64);

Counters run(const ForwardArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  const bool mma = arguments.dtype == DType::kBFloat16;
  const GemmConfig& config = kGemmConfigs[mma ? kMma : kSimt];
  const ForwardParams params = make_forward_params(arguments, config);
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(config.threads()), 1, 1};
  const size_t shared = gemm_layout(config, arguments.dtype, params.problem.taps()).total;
  return launch(grid, block, shared, options, memory,
                mma ? &gemm_mma<Forward, kMma, bf16> : &gemm_simt<Forward, kSimt, float>, params);
}

}  // namespace

// `arrays` and `bytes`: input, mask, weight, bias, window sums and valid(q) counted before, or null, output,
// out_mask, window_sum, the last three written. What follows the problem's integers is said of the former:
// their channels, window size, and whether they are soft.
extern "C" int run_forward(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                           void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                           char* message, int64_t size) {
  constexpr const char* kNames[] = {"input",       "mask",   "weight",   "bias",      "given_sum",
                                    "given_valid", "output", "out_mask", "window_sum"};
  constexpr int kArrays = 9, kFirstWritten = 6;
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

  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < kArrays; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
        return run(arguments, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
}
