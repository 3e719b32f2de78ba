#include <cuda_runtime_api.h>

#include "kernels/scale_grad.cuh"
#include "launch/device.h"
#include "launch/scale_grad.h"

namespace maskconv {
namespace {

template <class Element, int32_t kVector>
void launch_pass(const ScaleGradParams& params, cudaStream_t stream) {
  constexpr int32_t kShared = ScaleGradTypes<Element, kVector>::kSharedBytes;
  scale_grad<Element, kVector>
      <<<static_cast<unsigned>(params.blocks()), kRowThreads, kShared, stream>>>(params);
}

template <class Element>
void launch(const ScaleGradParams& params, cudaStream_t stream) {
  if (params.blocks() > 0) {
    if (params.vector > 1) {
      launch_pass<Element, kVectorBytes / sizeof(Element)>(params, stream);
    } else {
      launch_pass<Element, 1>(params, stream);
    }
  }
  if (params.grad_bias == nullptr || params.bias_blocks() == 0) return;
  constexpr int32_t kShared = kRowThreads * sizeof(Accumulator<Element>);
  sum_partial_grad_bias<Element>
      <<<static_cast<unsigned>(params.bias_blocks()), kRowThreads, kShared, stream>>>(params);
}

}  // namespace

void launch_scale_grad(const ScaleGradArguments& arguments, void* cuda_stream) {
  const ScaleGradParams params = make_scale_grad_params(arguments);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  switch (params.dtype) {
    case DType::kBFloat16:
      launch<bf16>(params, stream);
      break;
    case DType::kFloat16:
      launch<f16>(params, stream);
      break;
    case DType::kFloat32:
      launch<float>(params, stream);
      break;
    case DType::kFloat64:
      launch<double>(params, stream);
      break;
  }
  check_cuda(cudaGetLastError(), "launching the scaling of the gradient");
}

}  // namespace maskconv
