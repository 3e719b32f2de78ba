// Two grad_input kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/gemm_launch.h"
#include "emulation/row_order_launch.h"
#include "kernels/grad_input.cuh"
#include "mutant_row_order.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

template <GemmConfig kConfig, class Element>
Counters run(const GradInputArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  return launch_instance<GradInput, kConfig, Element>(make_grad_input_params(arguments, kConfig), options,
                                                      memory);
}

constexpr GemmConfig kFloat32 = kTf32 ? kTf32_64x64 : kSimt64x64;

}  // namespace

// `arrays` and `bytes`: grad, valid, mask, weight, grad_input, which is written, and row_order.
extern "C" int run_grad_input(const int64_t* problem, double threshold, double fill, int64_t is_bfloat16,
                              void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                              char* message, int64_t size) {
  constexpr const char* kNames[] = {"grad", "valid", "mask", "weight", "grad_input", "row_order"};
  constexpr int kWritten = 4;
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
  arguments.row_order = static_cast<const uint32_t*>(arrays[5]);

  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < 6; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i == kWritten, kNames[i]);
        const LaunchOptions options{seed, false};
        return is_bfloat16 != 0 ? run<kMma64x64, bf16>(arguments, options, memory)
                                : run<kFloat32, float>(arguments, options, memory);
      },
      counted, message, size);
}

// `arrays` and `bytes`: mask, valid, and keys and numbers, which are written. Counted are the bits of the
// keys.
extern "C" int run_grad_input_row_keys(const int64_t* problem, double, void* const* arrays,
                                       const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                                       int64_t size) {
  GradInputArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.mask = static_cast<const uint8_t*>(arrays[0]);
  arguments.valid = static_cast<const uint8_t*>(arrays[1]);
  return report_row_keys<GradInput>(arguments, {{"mask", "valid", "keys", "numbers"}}, arrays, bytes, seed,
                                    counted, message, size);
}
