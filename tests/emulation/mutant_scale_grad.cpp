// The kernels of the backward's first pass behind one C function, for bf16 and float32.

#include "emulation/scale_grad_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

// The integers: those of ScaleGradProblem in order. The arrays: grad, valid, window_sum, scaled, grad_bias,
// partial_sums, the last three written.
extern "C" int run_scale_grad(const MutantCall& call) {
  const int64_t* problem = call.integers;
  ScaleGradArguments arguments;
  arguments.problem = {problem[0],
                       problem[1],
                       static_cast<int32_t>(problem[2]),
                       problem[3],
                       static_cast<int32_t>(problem[4]),
                       problem[5],
                       problem[6] != 0,
                       static_cast<Normalization>(problem[7]),
                       problem[8] != 0};
  arguments.dtype = call.dtype();
  arguments.grad = call.arrays[0];
  arguments.valid = call.array<const uint8_t>(1);
  arguments.window_sum = call.arrays[2];
  arguments.scaled = call.arrays[3];
  arguments.grad_bias = call.arrays[4];
  arguments.partial_sums = call.arrays[5];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"grad", "valid", "window_sum", "scaled", "grad_bias", "partial_sums"}, 3, 5);
    const ScaleGradParams params = make_scale_grad_params(arguments);
    return arguments.dtype == DType::kBFloat16 ? launch_scale_grad<bf16>(params, call.options(), memory)
                                               : launch_scale_grad<float>(params, call.options(), memory);
  });
}
