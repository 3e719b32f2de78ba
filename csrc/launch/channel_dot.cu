#include <cuda_runtime_api.h>

#include "kernels/channel_dot.cuh"
#include "launch/channel_dot.h"
#include "launch/device.h"

namespace maskconv {
namespace {

template <class Element>
void launch(const ChannelDotParams& params, cudaStream_t stream) {
  if (params.blocks() == 0) return;
  const auto blocks = static_cast<unsigned>(params.blocks());
  if (params.vector > 1) {
    channel_dot<Element, kVectorBytes / sizeof(Element)><<<blocks, kDotThreads, 0, stream>>>(params);
  } else {
    channel_dot<Element, 1><<<blocks, kDotThreads, 0, stream>>>(params);
  }
}

}  // namespace

void launch_channel_dot(const ChannelDotArguments& arguments, void* cuda_stream) {
  const ChannelDotParams params = make_channel_dot_params(arguments);
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
  check_cuda(cudaGetLastError(), "launching products summed over channels");
}

}  // namespace maskconv
