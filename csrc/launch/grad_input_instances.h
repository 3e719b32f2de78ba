// One function per element type, each in the .cu file of that type.
#pragma once

#include <cuda_runtime_api.h>

#include "plan/grad_input_params.h"

namespace maskconv {

// Picks the instance by `config`; cudaErrorInvalidDeviceFunction if it was not compiled.
cudaError_t launch_grad_input_bf16(const GemmConfig& config, const GradInputParams& params,
                                   cudaStream_t stream);
cudaError_t launch_grad_input_f16(const GemmConfig& config, const GradInputParams& params,
                                  cudaStream_t stream);
cudaError_t launch_grad_input_f32(const GemmConfig& config, const GradInputParams& params,
                                  cudaStream_t stream);
cudaError_t launch_grad_input_f64(const GemmConfig& config, const GradInputParams& params,
                                  cudaStream_t stream);

}  // namespace maskconv
