#include "launch/forward_launch.cuh"

namespace maskconv {

cudaError_t launch_forward_f64(const ForwardConfig& config, const ForwardParams& params,
                               cudaStream_t stream) {
  return launch_matching<double, kSimt64x32>(config, params, stream);
}

}  // namespace maskconv
