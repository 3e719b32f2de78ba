#include <cuda_runtime_api.h>

#include "kernels/grad_bias.cuh"
#include "launch/device.h"
#include "launch/grad_bias.h"

namespace maskconv {
namespace {

template <class Element, int32_t kVector>
void launch_pass(const GradBiasParams& params, cudaStream_t stream) {
  constexpr int32_t kShared = GradBiasTypes<Element, kVector>::kSharedBytes;
  grad_bias<Element, kVector>
      <<<static_cast<unsigned>(params.blocks()), kRowThreads, kShared, stream>>>(params);
}

template <class Element>
void launch(const GradBiasParams& params, cudaStream_t stream) {
  if (params.blocks() > 0) {
    if (params.vector > 1) {
      launch_pass<Element, kVectorBytes / sizeof(Element)>(params, stream);
    } else {
      launch_pass<Element, 1>(params, stream);
    }
  }
  if (params.bias_blocks() == 0) return;
  constexpr int32_t kShared = kRowThreads * sizeof(Accumulator<Element>);
  sum_partial_grad_bias<Element>
      <<<static_cast<unsigned>(params.bias_blocks()), kRowThreads, kShared, stream>>>(params);
}

}  // namespace

void launch_grad_bias(const GradBiasArguments& arguments, void* cuda_stream) {
  const GradBiasParams params = make_grad_bias_params(arguments);
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
  check_cuda(cudaGetLastError(), "launching the bias gradient");
}

}  // namespace maskconv
