// Launching one compiled forward kernel.
#pragma once

#include "kernels/forward_mma.cuh"
#include "kernels/forward_simt.cuh"
#include "launch/forward_instances.h"

namespace maskconv {

constexpr int32_t kSharedBytesWithoutOptIn = 48 * 1024;

template <ForwardConfig kConfig, class Element>
cudaError_t launch_instance(const ForwardParams& params, cudaStream_t stream) {
  constexpr auto* kernel = [] {
    if constexpr (kConfig.kernel == ForwardKernel::kMma) {
      return &forward_mma<config_index(kConfig), Element>;
    } else {
      return &forward_simt<config_index(kConfig), Element>;
    }
  }();
  const int32_t shared = forward_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  if (shared > kSharedBytesWithoutOptIn) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return error;
  }
  kernel<<<static_cast<unsigned>(params.blocks()), kConfig.threads(), shared, stream>>>(params);
  return cudaGetLastError();
}

// The first of kConfigs that equals `config`.
template <class Element, ForwardConfig... kConfigs>
cudaError_t launch_matching(const ForwardConfig& config, const ForwardParams& params, cudaStream_t stream) {
  cudaError_t result = cudaErrorInvalidDeviceFunction;
  const bool found =
      ((config == kConfigs && (result = launch_instance<kConfigs, Element>(params, stream), true)) || ...);
  return found ? result : cudaErrorInvalidDeviceFunction;
}

}  // namespace maskconv
