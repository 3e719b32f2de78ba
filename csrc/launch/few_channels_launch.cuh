// Launching the compiled few-channels kernels of a pass.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/few_channels.cuh"
#include "launch/device.h"
#include "launch/few_channels.h"

namespace maskconv {

template <class Pass, int32_t kIndex, class Element>
cudaError_t launch_few_channels_instance(const typename Pass::Params& params, cudaStream_t stream) {
  constexpr GemmConfig kConfig = few_channels::kConfigs[kIndex];
  constexpr auto* kernel = &few_channels_conv<Pass, kIndex, Element>;
  constexpr int32_t kSharedWithoutOptIn = 48 * 1024;
  const int32_t shared = gemm_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  if (shared > kSharedWithoutOptIn) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return error;
  }
  kernel<<<static_cast<unsigned>(params.blocks()), kConfig.threads(), shared, stream>>>(params);
  return cudaGetLastError();
}

template <class Pass, class Element, int32_t... kIndices>
cudaError_t launch_few_channels_among(few_channels::Indices<kIndices...>, const GemmConfig& config,
                                      const typename Pass::Params& params, cudaStream_t stream) {
  cudaError_t result = cudaErrorInvalidDeviceFunction;
  ((config == few_channels::kConfigs[kIndices] &&
    (result = launch_few_channels_instance<Pass, kIndices, Element>(params, stream), true)) ||
   ...);
  return result;
}

template <class Pass>
void launch_few_channels_pass(const GemmConfig& config, const typename Pass::Params& params, DType dtype,
                              void* cuda_stream, const char* what) {
  const auto launch = [&]<class Element>(Element) {
    return launch_few_channels_among<Pass, Element>(few_channels::ConfigsOf<kDType<Element>>(), config,
                                                    params, static_cast<cudaStream_t>(cuda_stream));
  };
  const auto launch_as = [&] {
    switch (dtype) {
      case DType::kBFloat16:
        return launch(bf16{});
      case DType::kFloat16:
        return launch(f16{});
      case DType::kFloat32:
        return launch(float{});
      default:
        return launch(double{});
    }
  };
  check_cuda(launch_as(), what);
}

}  // namespace maskconv
