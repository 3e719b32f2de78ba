// grad_weight where channels or filters of a group are no multiple of 8: fp16 and bf16 on tensor cores all
// the same.
#pragma once

#include "device/grad_weight_mma.cuh"
#include "device/grad_weight_packed.cuh"
#include "plan/few_channels.h"

namespace maskconv {

// Operands lie as the tensor cores read them: rows of 16-byte chunks across the filters, or the columns.
template <GemmConfig kConfig, class Element>
struct PackedRowStage {
  using Value = Element;
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);

  static __device__ __forceinline__ Element value(Element element) { return element; }
  static __device__ __forceinline__ Element scaled(Element element, float scale) {
    return from_accumulator<Element>(to_accumulator(element) * scale);
  }
  static __device__ __forceinline__ Element* grad(unsigned char* stage, int32_t k, int32_t filter) {
    return place<kConfig.block_m>(stage, k, filter);
  }
  static __device__ __forceinline__ Element* input(unsigned char* stage, int32_t k, int32_t column) {
    return place<kConfig.block_n>(stage + kConfig.block_k * kConfig.block_m * sizeof(Element), k, column);
  }

 private:
  template <int32_t kWidth>
  static __device__ __forceinline__ Element* place(unsigned char* operand, int32_t k, int32_t element) {
    const int32_t chunk = swizzled<kWidth / kChunkElements>(k, element / kChunkElements);
    return reinterpret_cast<Element*>(operand + chunk) + element % kChunkElements;
  }
};

// Columns may be odd, and pairs of them unaligned.
template <GemmConfig kConfig, class Element>
struct PackedWarpSums : grad_weight::WarpSums<kConfig, Element> {
  __device__ __forceinline__ void multiply(const unsigned char* stage) {
    grad_weight::WarpSums<kConfig, Element>::multiply(stage, 0,
                                                      nullptr);  // the input is scaled as it is loaded
  }
  __device__ __forceinline__ void store(const grad_weight::Destination<Element>& to) const {
    grad_weight::WarpSums<kConfig, Element>::template store<1>(to);
  }
};

template <int32_t kConfigIndex, class Element>
__global__ void __launch_bounds__(few_channels::kConfigs[kConfigIndex].threads(),
                                  few_channels::kConfigs[kConfigIndex].blocks)
    few_channels_grad_weight(const __grid_constant__ GradWeightParams params) {
  constexpr GemmConfig kConfig = few_channels::kConfigs[kConfigIndex];
  grad_weight::packed_sums<kConfig, Element, PackedRowStage<kConfig, Element>,
                           PackedWarpSums<kConfig, Element>>(params);
}

}  // namespace maskconv
