#include <cuda_runtime_api.h>

#include "kernels/depthwise_grad_weight.cuh"
#include "launch/depthwise.h"
#include "launch/device.h"
#include "launch/grad_weight_reduce_launch.cuh"

namespace maskconv {
namespace {

template <class Element, int32_t kVector>
void launch_sums(const depthwise::WeightParams& params, cudaStream_t stream) {
  constexpr int32_t kShared = depthwise::layout(kDType<Element>, kVector).total;
  depthwise_grad_weight<Element, kVector>
      <<<static_cast<unsigned>(params.blocks()), depthwise::kThreads, kShared, stream>>>(params);
}

template <class Element>
void launch(const depthwise::WeightParams& params, cudaStream_t stream) {
  if (params.shape.vector == 1) {
    launch_sums<Element, 1>(params, stream);
  } else {
    launch_sums<Element, depthwise::widest_vector(kDType<Element>)>(params, stream);
  }
  if (params.splits > 1) launch_grad_weight_reduce<Element>(params, stream);
}

}  // namespace

void launch_depthwise(const GradWeightArguments& arguments, const DepthwiseWeightPlan& plan,
                      void* cuda_stream) {
  const auto params = make_depthwise_weight_params(arguments, plan.splits);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  switch (arguments.dtype) {
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
  check_cuda(cudaGetLastError(), "launching the depthwise masked convolution's weight gradient");
}

}  // namespace maskconv
