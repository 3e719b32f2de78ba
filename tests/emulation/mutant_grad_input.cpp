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

extern "C" int run_grad_input(const MutantCall& call) { return call_grad_input(run, call); }

// The arrays: mask, valid, keys and numbers.
extern "C" int run_grad_input_row_keys(const MutantCall& call) {
  GradInputArguments arguments;
  arguments.problem = call.problem();
  arguments.mask = call.array<const uint8_t>(0);
  arguments.valid = call.array<const uint8_t>(1);
  return report_row_keys<GradInput>(call, arguments, {"mask", "valid", "keys", "numbers"});
}
