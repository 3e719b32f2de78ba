#include "kernels/grad_input.cuh"
#include "launch/gemm_launch.cuh"
#include "launch/grad_input_instances.h"

namespace maskconv {

cudaError_t launch_grad_input_f16(const GemmConfig& config, const GradInputParams& params,
                                  cudaStream_t stream) {
  return launch_gemm<GradInput, f16>(config, params, stream);
}

}  // namespace maskconv
