// The kernels of the bias gradient behind one C function, for bf16 and float32.

#include "emulation/grad_bias_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

// `problem`: the integers of GradBiasProblem in order; `arrays` and `bytes`: grad, valid, grad_bias,
// partial_sums, the last two written.
extern "C" int run_grad_bias(const int64_t* problem, int64_t is_bfloat16, void* const* arrays,
                             const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                             int64_t size) {
  constexpr const char* kNames[] = {"grad", "valid", "grad_bias", "partial_sums"};
  constexpr int kFirstWritten = 2;
  GradBiasArguments arguments;
  arguments.problem = {problem[0], problem[1], static_cast<int32_t>(problem[2]), problem[3],
                       static_cast<int32_t>(problem[4])};
  arguments.dtype = is_bfloat16 != 0 ? DType::kBFloat16 : DType::kFloat32;
  arguments.grad = arrays[0];
  arguments.valid = static_cast<const uint8_t*>(arrays[1]);
  arguments.grad_bias = arrays[2];
  arguments.partial_sums = arrays[3];
  return report(
      [&] {
        GlobalMemory memory;
        for (int i = 0; i < 4; ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
        const GradBiasParams params = make_grad_bias_params(arguments);
        const LaunchOptions options{seed, false};
        return is_bfloat16 != 0 ? launch_grad_bias<bf16>(params, options, memory)
                                : launch_grad_bias<float>(params, options, memory);
      },
      counted, message, size);
}
