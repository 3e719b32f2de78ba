#include "launch/forward_launch.cuh"

namespace maskconv {

cudaError_t launch_forward_bf16(const ForwardConfig& config, const ForwardParams& params,
                                cudaStream_t stream) {
  return launch_matching<bf16, kMma128x128, kMma128x64, kMma64x64, kSimt64x64>(config, params, stream);
}

}  // namespace maskconv
