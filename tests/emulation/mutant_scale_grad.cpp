// The kernels of the backward's first pass behind one C function, for bf16 and float32.

#include "emulation/scale_grad_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

// `problem`: the integers of ScaleGradProblem in order; `arrays` and `bytes`: grad, valid, window_sum,
// scaled, grad_bias, partial_sums, the last three written.
extern "C" int run_scale_grad(const int64_t* problem, int64_t is_bfloat16, void* const* arrays,
                              const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                              int64_t size) {
  constexpr const char* kNames[] = {"grad", "valid", "window_sum", "scaled", "grad_bias", "partial_sums"};
  constexpr int kFirstWritten = 3;
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
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  arguments.grad = arrays[0];
  arguments.valid = static_cast<const uint8_t*>(arrays[1]);
  arguments.window_sum = arrays[2];
  arguments.scaled = arrays[3];
  arguments.grad_bias = arrays[4];
  arguments.partial_sums = arrays[5];
  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < 6; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
        const ScaleGradParams params = make_scale_grad_params(arguments);
        const LaunchOptions options{seed, false};
        return is_bfloat16 != 0 ? launch_scale_grad<bf16>(params, options, memory)
                                : launch_scale_grad<float>(params, options, memory);
      },
      counted, message, size);
}
