// Two grad_input kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/gemm_launch.h"
#include "emulation/row_order_launch.h"
#include "kernels/grad_input.cuh"
#include "mutant_calls.h"
#include "mutant_row_order.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr GemmConfig kFloat32 = kTf32 ? kTf32_64x64 : kSimt64x64;

Counters run(const GradInputArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  return arguments.dtype == DType::kBFloat16
             ? launch_instance<GradInput, kMma64x64, bf16>(make_grad_input_params(arguments, kMma64x64),
                                                           options, memory)
             : launch_instance<GradInput, kFloat32, float>(make_grad_input_params(arguments, kFloat32),
                                                           options, memory);
}

}  // namespace

extern "C" int run_grad_input(const int64_t* problem, double, double, int64_t is_bfloat16,
                              void* const* arrays, const int64_t* bytes, uint64_t seed, int64_t* counted,
                              char* message, int64_t size) {
  return call_grad_input(run, problem, is_bfloat16, {arrays, bytes}, seed, counted, message, size);
}

// `arrays` and `bytes`: mask, valid, and keys and numbers, which are written. Counted are the bits of the
// keys.
extern "C" int run_grad_input_row_keys(const int64_t* problem, double, void* const* arrays,
                                       const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                                       int64_t size) {
  GradInputArguments arguments;
  arguments.problem = read_problem(problem);
  arguments.mask = static_cast<const uint8_t*>(arrays[0]);
  arguments.gradient.valid = static_cast<const uint8_t*>(arrays[1]);
  return report_row_keys<GradInput>(arguments, {{"mask", "valid", "keys", "numbers"}}, arrays, bytes, seed,
                                    counted, message, size);
}
