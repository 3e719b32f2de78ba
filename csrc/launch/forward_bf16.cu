#include "kernels/forward.cuh"
#include "launch/forward_instances.h"
#include "launch/gemm_launch.cuh"

namespace maskconv {

cudaError_t launch_forward_bf16(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream) {
  return launch_gemm<Forward, bf16>(config, params, stream);
}

}  // namespace maskconv
