#include <cuda_runtime_api.h>

#include "kernels/few_channels_grad_weight.cuh"
#include "launch/device.h"
#include "launch/few_channels.h"
#include "launch/grad_weight_reduce_launch.cuh"

namespace maskconv {
namespace {

template <class Element, int32_t... kIndices>
cudaError_t launch(few_channels::Indices<kIndices...>, const GemmConfig& config,
                   const GradWeightParams& params, cudaStream_t stream) {
  const int32_t shared = grad_weight::layout(config, params.dtype).total;
  const auto blocks = static_cast<unsigned>(params.blocks());
  ((config == few_channels::kConfigs[kIndices] &&
    (few_channels_grad_weight<kIndices, Element><<<blocks, config.threads(), shared, stream>>>(params),
     true)) ||
   ...);
  if (params.splits > 1) launch_grad_weight_reduce<Element>(params, stream);
  return cudaGetLastError();
}

// Of either tile: no opt-in is needed.
constexpr int32_t kSharedWithoutOptIn = 48 * 1024;
static_assert(grad_weight::layout(few_channels::kWeight64x64, DType::kFloat16).total <= kSharedWithoutOptIn);
static_assert(grad_weight::layout(few_channels::kWeight32x64, DType::kFloat16).total <= kSharedWithoutOptIn);

}  // namespace

void launch_few_channels(const GradWeightArguments& arguments, const GradWeightPlan& plan,
                         void* cuda_stream) {
  const GradWeightParams params = make_grad_weight_params(arguments, plan);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  const cudaError_t error = arguments.dtype == DType::kBFloat16
                                ? launch<bf16>(few_channels::WeightConfigs(), plan.config, params, stream)
                                : launch<f16>(few_channels::WeightConfigs(), plan.config, params, stream);
  check_cuda(error, "launching the few-channels masked convolution's weight gradient");
}

}  // namespace maskconv
