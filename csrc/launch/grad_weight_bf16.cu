#include "launch/grad_weight_launch.cuh"

namespace maskconv {

cudaError_t launch_grad_weight_bf16(const GemmConfig& config, const GradWeightParams& params,
                                    cudaStream_t stream) {
  return launch_grad_weight_kernels<bf16>(config, params, stream);
}

}  // namespace maskconv
