// Launching the compiled grad_weight kernels of an element type.
#pragma once

#include "kernels/grad_weight_mma.cuh"
#include "kernels/grad_weight_simt.cuh"
#include "launch/grad_weight_instances.h"
#include "launch/grad_weight_reduce_launch.cuh"

namespace maskconv {

template <int32_t kIndex, class Element>
cudaError_t launch_grad_weight_sums(const GradWeightParams& params, cudaStream_t stream) {
  constexpr GemmConfig kConfig = grad_weight::kConfigs[kIndex];
  using Seen = ElementOf<grad_weight::kConfigs[kIndex].kernel, Element>;
  constexpr auto* kernel = [] {
    if constexpr (kConfig.kernel == GemmKernel::kSimt) {
      return &grad_weight_simt<kIndex, Seen>;
    } else {
      return &grad_weight_mma<kIndex, Seen>;
    }
  }();
  constexpr int32_t kShared = grad_weight::layout(kConfig, kDType<Element>).total;
  constexpr int32_t kSharedWithoutOptIn = 48 * 1024;
  if constexpr (kShared > kSharedWithoutOptIn) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
    if (error != cudaSuccess) return error;
  }
  kernel<<<static_cast<unsigned>(params.blocks()), kConfig.threads(), kShared, stream>>>(params);
  return cudaGetLastError();
}

template <class Element, int32_t... kIndices>
cudaError_t launch_grad_weight_among(grad_weight::Indices<kIndices...>, const GemmConfig& config,
                                     const GradWeightParams& params, cudaStream_t stream) {
  cudaError_t result = cudaErrorInvalidDeviceFunction;
  ((config == grad_weight::kConfigs[kIndices] &&
    (result = launch_grad_weight_sums<kIndices, Element>(params, stream), true)) ||
   ...);
  return result;
}

template <class Element>
cudaError_t launch_grad_weight_kernels(const GemmConfig& config, const GradWeightParams& params,
                                       cudaStream_t stream) {
  const cudaError_t error =
      launch_grad_weight_among<Element>(grad_weight::ConfigsOf<kDType<Element>>(), config, params, stream);
  if (error != cudaSuccess || params.splits == 1) return error;
  launch_grad_weight_reduce<Element>(params, stream);
  return cudaGetLastError();
}

}  // namespace maskconv
