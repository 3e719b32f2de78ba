#include <cuda_runtime_api.h>

#include "kernels/finish.cuh"
#include "launch/device.h"
#include "launch/finish.h"

namespace maskconv {
namespace {

template <class Element>
void launch(const FinishParams& params, cudaStream_t stream) {
  if (params.blocks() == 0) return;
  const auto blocks = static_cast<unsigned>(params.blocks());
  if (params.vector > 1) {
    finish<Element, kVectorBytes / sizeof(Element)><<<blocks, kRowThreads, 0, stream>>>(params);
  } else {
    finish<Element, 1><<<blocks, kRowThreads, 0, stream>>>(params);
  }
}

}  // namespace

void launch_finish(const FinishArguments& arguments, void* cuda_stream) {
  const FinishParams params = make_finish_params(arguments);
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
  check_cuda(cudaGetLastError(), "launching scale, bias and fill");
}

}  // namespace maskconv
