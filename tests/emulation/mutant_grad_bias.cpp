// The kernels of the bias gradient behind one C function, for bf16 and float32.

#include "emulation/grad_bias_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

// The integers: those of GradBiasProblem in order. The arrays: grad, valid, grad_bias, partial_sums, the last
// two written.
extern "C" int run_grad_bias(const MutantCall& call) {
  const int64_t* problem = call.integers;
  GradBiasArguments arguments;
  arguments.problem = {problem[0], problem[1], static_cast<int32_t>(problem[2]), problem[3],
                       static_cast<int32_t>(problem[4])};
  arguments.dtype = call.dtype();
  arguments.grad = call.arrays[0];
  arguments.valid = call.array<const uint8_t>(1);
  arguments.grad_bias = call.arrays[2];
  arguments.partial_sums = call.arrays[3];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"grad", "valid", "grad_bias", "partial_sums"}, 2, 3);
    const GradBiasParams params = make_grad_bias_params(arguments);
    return arguments.dtype == DType::kBFloat16 ? launch_grad_bias<bf16>(params, call.options(), memory)
                                               : launch_grad_bias<float>(params, call.options(), memory);
  });
}
