// Launching the compiled depthwise kernels of a pass.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/depthwise.cuh"
#include "launch/depthwise.h"
#include "launch/device.h"

namespace maskconv {

template <class Pass, class Element, int32_t kVector>
void launch_depthwise_instance(const depthwise::Params<typename Pass::Params>& params, cudaStream_t stream) {
  constexpr int32_t kShared = depthwise::layout(kDType<Element>, kVector).total;
  static_assert(kShared <= 48 * 1024, "no opt-in is needed");
  depthwise_conv<Pass, Element, kVector>
      <<<static_cast<unsigned>(params.shape.blocks()), depthwise::kThreads, kShared, stream>>>(params);
}

template <class Pass, class Element>
void launch_depthwise_as(const depthwise::Params<typename Pass::Params>& params, cudaStream_t stream) {
  if (params.shape.vector == 1) {
    launch_depthwise_instance<Pass, Element, 1>(params, stream);
  } else {
    launch_depthwise_instance<Pass, Element, depthwise::widest_vector(kDType<Element>)>(params, stream);
  }
}

template <class Pass, class Arguments>
void launch_depthwise_pass(const Arguments& arguments, void* cuda_stream, const char* what) {
  const auto params = make_depthwise_params(arguments);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  switch (arguments.dtype) {
    case DType::kBFloat16:
      launch_depthwise_as<Pass, bf16>(params, stream);
      break;
    case DType::kFloat16:
      launch_depthwise_as<Pass, f16>(params, stream);
      break;
    case DType::kFloat32:
      launch_depthwise_as<Pass, float>(params, stream);
      break;
    case DType::kFloat64:
      launch_depthwise_as<Pass, double>(params, stream);
      break;
  }
  check_cuda(cudaGetLastError(), what);
}

}  // namespace maskconv
