#include "launch/forward_launch.cuh"

namespace maskconv {

cudaError_t launch_forward_f32(const ForwardConfig& config, const ForwardParams& params,
                               cudaStream_t stream) {
  return launch_matching<float, kSimt64x64>(config, params, stream);
}

}  // namespace maskconv
