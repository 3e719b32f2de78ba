// The implicit GEMM of a pass where the channels of a group are no multiple of 8, or few: fp16 and bf16 on
// tensor cores all the same, other types on tiles of few columns.
#pragma once

#include "device/mma.cuh"
#include "device/packed_product.cuh"
#include "device/weights.cuh"
#include "plan/few_channels.h"

namespace maskconv {

// Operands lie as the tensor cores read them, both with the reduction along a row of 16-byte chunks.
template <GemmConfig kConfig, class Element>
struct PackedStage {
  using Value = Element;
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kRowChunks = kConfig.block_k / kChunkElements;

  static __device__ __forceinline__ Element value(Element element) { return element; }
  static __device__ __forceinline__ Element scaled(Element element, float scale) {
    return from_accumulator<Element>(to_accumulator(element) * scale);
  }
  static __device__ __forceinline__ Element* source(unsigned char* stage, int32_t k, int32_t row) {
    const int32_t chunk = swizzled<kRowChunks>(row, k / kChunkElements);
    return reinterpret_cast<Element*>(stage + chunk) + k % kChunkElements;
  }
  static __device__ __forceinline__ Element* weight(unsigned char* stage, int32_t k, int32_t column) {
    return source(stage + kConfig.block_m * kConfig.block_k * sizeof(Element), k, column);
  }
};

template <class Pass, int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(few_channels::kConfigs[kConfigIndex].threads(),
                                  few_channels::kConfigs[kConfigIndex].blocks)
    few_channels_conv(const __grid_constant__ typename Pass::Params params) {
  constexpr GemmConfig kConfig = few_channels::kConfigs[kConfigIndex];
  if constexpr (kConfig.kernel == GemmKernel::kSimt) {
    packed_product<Pass, kConfig, Element, SimtStage<kConfig, Element>, ThreadTile<kConfig, Element>>(params);
  } else {
    using Weights = WeightColumns<kConfig, Element>;  // of both passes: the loader has turned them
    packed_product<Pass, kConfig, Element, PackedStage<kConfig, Element>,
                   WarpTile<Weights, kConfig, Element>>(params);
  }
}

}  // namespace maskconv
