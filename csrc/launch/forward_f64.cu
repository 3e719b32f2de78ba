#include "kernels/forward.cuh"
#include "launch/forward_instances.h"
#include "launch/gemm_launch.cuh"

namespace maskconv {

cudaError_t launch_forward_f64(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream) {
  return launch_gemm<Forward, double>(config, params, stream);
}

}  // namespace maskconv
