// One function per element type, each in the .cu file of that type.
#pragma once

#include <cuda_runtime_api.h>

#include "plan/forward_params.h"

namespace maskconv {

// Picks the instance by `config`; cudaErrorInvalidDeviceFunction if it was not compiled.
cudaError_t launch_forward_bf16(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream);
cudaError_t launch_forward_f16(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream);
cudaError_t launch_forward_f32(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream);
cudaError_t launch_forward_f64(const GemmConfig& config, const ForwardParams& params, cudaStream_t stream);

}  // namespace maskconv
