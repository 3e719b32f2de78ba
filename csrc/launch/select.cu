#include <cuda_runtime_api.h>

#include "kernels/select.cuh"
#include "launch/device.h"
#include "launch/select.h"

namespace maskconv {
namespace {

template <class Element, class Value>
void launch_mask(const SelectParams& params, cudaStream_t stream) {
  if (!params.channels_last) {
    select_planes<Element, Value><<<static_cast<unsigned>(params.tiles()), kSelectTileThreads,
                                    select_tile_bytes(params.dtype), stream>>>(params);
  } else if (params.vector > 1) {
    select_rows<Element, Value, kVectorBytes / sizeof(Element)>
        <<<static_cast<unsigned>(params.blocks()), kRowThreads, 0, stream>>>(params);
  } else {
    select_rows<Element, Value, 1>
        <<<static_cast<unsigned>(params.blocks()), kRowThreads, 0, stream>>>(params);
  }
}

template <class Element>
void launch(const SelectParams& params, cudaStream_t stream) {
  if (params.problem.batch == 0) return;
  if (params.mask.soft) {
    launch_mask<Element, Accumulator<Element>>(params, stream);
  } else {
    launch_mask<Element, uint8_t>(params, stream);
  }
}

}  // namespace

void launch_select(const SelectArguments& arguments, void* cuda_stream) {
  const SelectParams params = make_select_params(arguments);
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
  check_cuda(cudaGetLastError(), "launching the selection of the input");
}

}  // namespace maskconv
