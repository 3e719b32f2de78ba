// Launching one compiled kernel of a pass.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/gemm_mma.cuh"
#include "kernels/gemm_simt.cuh"

namespace maskconv {

constexpr int32_t kSharedBytesWithoutOptIn = 48 * 1024;

template <class Pass, GemmConfig kConfig, class Element>
cudaError_t launch_instance(const typename Pass::Params& params, cudaStream_t stream) {
  using Seen = ElementOf<kConfig.kernel, Element>;
  constexpr auto* kernel = [] {
    if constexpr (kConfig.kernel == GemmKernel::kSimt) {
      return &gemm_simt<Pass, config_index(kConfig), Seen>;
    } else {
      return &gemm_mma<Pass, config_index(kConfig), Seen>;
    }
  }();
  const int32_t shared = gemm_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  if (shared > kSharedBytesWithoutOptIn) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return error;
  }
  kernel<<<static_cast<unsigned>(params.blocks()), kConfig.threads(), shared, stream>>>(params);
  return cudaGetLastError();
}

// The first of kConfigs that equals `config`; cudaErrorInvalidDeviceFunction if none does.
template <class Pass, class Element, GemmConfig... kConfigs>
cudaError_t launch_matching(const GemmConfig& config, const typename Pass::Params& params,
                            cudaStream_t stream) {
  cudaError_t result = cudaErrorInvalidDeviceFunction;
  ((config == kConfigs && (result = launch_instance<Pass, kConfigs, Element>(params, stream), true)) || ...);
  return result;
}

// The tiles compiled for an element type.
template <class Pass, class Element>
cudaError_t launch_gemm(const GemmConfig& config, const typename Pass::Params& params, cudaStream_t stream) {
  if constexpr (kDType<Element> == DType::kFloat64) {
    return launch_matching<Pass, Element, kSimt64x32>(config, params, stream);
  } else if constexpr (kDType<Element> == DType::kFloat32) {
    return launch_matching<Pass, Element, kTf32_256x128, kTf32_256x64, kTf32_128x128, kTf32_128x64,
                           kTf32_64x64, kSimt64x64>(config, params, stream);
  } else {
    return launch_matching<Pass, Element, kMma256x128, kMma256x64, kMma128x128, kMma128x64, kMma64x64,
                           kSimt64x64>(config, params, stream);
  }
}

}  // namespace maskconv
