// Two grad_input kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/launch.h"
#include "kernels/gemm_mma.cuh"
#include "kernels/gemm_simt.cuh"
#include "kernels/grad_input.cuh"
#include "mutant_library.h"
#include "plan/gemm_planner.cpp"
#include "plan/cost.cpp"
#include "plan/grad_input_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr int32_t kMma = config_index(kMma64x64);
constexpr int32_t kSimt = config_index(kSimt64x64);

Counters run(const GradInputArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  const bool mma = arguments.dtype == DType::kBFloat16;
  const GemmConfig& config = kGemmConfigs[mma ? kMma : kSimt];
  const GradInputParams params = make_grad_input_params(arguments, config);
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(config.threads()), 1, 1};
  const size_t shared = gemm_layout(config, arguments.dtype, params.problem.taps()).total;
  return launch(grid, block, shared, options, memory,
                mma ? &gemm_mma<GradInput, kMma, bf16> : &gemm_simt<GradInput, kSimt, float>, params);
}

}  // namespace

// `arrays` and `bytes`: grad, valid, mask, weight, grad_input, the last one written.
extern "C" int run_grad_input(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                              void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                              char* message, int64_t size) {
  constexpr const char* kNames[] = {"grad", "valid", "mask", "weight", "grad_input"};
  constexpr int kFirstWritten = 4;
  GradInputArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.problem.threshold = threshold;
  arguments.problem.fill = fill;
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  arguments.grad = arrays[0];
  arguments.valid = static_cast<const uint8_t*>(arrays[1]);
  arguments.mask = static_cast<const uint8_t*>(arrays[2]);
  arguments.weight = arrays[3];
  arguments.grad_input = arrays[4];

  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < 5; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
        return run(arguments, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
}
