// Element types and what they are summed in.
#pragma once

#include <type_traits>

#include "device/ptx.cuh"
#include "plan/dtype.h"
#include "plan/gemm_config.h"

namespace maskconv {

template <class Element>
using Accumulator = std::conditional_t<std::is_same_v<Element, double>, double, float>;

template <class Element>
constexpr DType kDType = std::is_same_v<Element, double>  ? DType::kFloat64
                         : std::is_same_v<Element, float> ? DType::kFloat32
                         : std::is_same_v<Element, tf32>  ? DType::kFloat32
                         : std::is_same_v<Element, bf16>  ? DType::kBFloat16
                                                          : DType::kFloat16;

// What a kernel of this kind sees elements as.
template <GemmKernel kKernel, class Element>
using ElementOf = std::conditional_t<kKernel == GemmKernel::kTf32, tf32, Element>;

template <class Element>
__device__ __forceinline__ Accumulator<Element> to_accumulator(Element value) {
  if constexpr (std::is_same_v<Element, double>) {
    return value;
  } else {
    return to_float(value);
  }
}

template <class Element>
__device__ __forceinline__ Element from_accumulator(Accumulator<Element> value) {
  if constexpr (std::is_same_v<Element, double>) {
    return value;
  } else {
    return from_float<Element>(value);
  }
}

}  // namespace maskconv
