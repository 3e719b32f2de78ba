// Two forward kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include "emulation/gemm_launch.h"
#include "emulation/row_order_launch.h"
#include "kernels/forward.cuh"
#include "mutant_calls.h"
#include "mutant_row_order.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr GemmConfig kFloat32 = kTf32 ? kTf32_64x64 : kSimt64x64;

Counters run(const ForwardArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  return arguments.dtype == DType::kBFloat16 ? launch_instance<Forward, kMma64x64, bf16>(
                                                   make_forward_params(arguments, kMma64x64), options, memory)
                                             : launch_instance<Forward, kFloat32, float>(
                                                   make_forward_params(arguments, kFloat32), options, memory);
}

}  // namespace

extern "C" int run_forward(const MutantCall& call) { return call_forward(run, call); }

// The arrays: mask, keys and numbers.
extern "C" int run_forward_row_keys(const MutantCall& call) {
  ForwardArguments arguments;
  arguments.problem = call.problem();
  arguments.mask = call.array<const uint8_t>(0);
  return report_row_keys<Forward>(call, arguments, {"mask", "keys", "numbers"});
}
