// The tiles grad_weight is compiled for: block_m filters x block_n columns, which are the (tap, channel)
// pairs of a group in the order of the weight, and block_k output rows a reduction step.
#pragma once

#include <type_traits>
#include <utility>

#include "plan/dtype.h"
#include "plan/gemm_config.h"

namespace maskconv::grad_weight {

// Three stages, for two blocks on a multiprocessor of 164 KiB; the smaller tiles have room for four.
inline constexpr GemmConfig kMma128x128{GemmKernel::kMma, 128, 128, 32, 3, 2, 2};
inline constexpr GemmConfig kMma64x128{GemmKernel::kMma, 64, 128, 32, 4, 2, 2};
inline constexpr GemmConfig kMma64x64{GemmKernel::kMma, 64, 64, 32, 4, 2, 2};
// The same bytes a stage, of half as many rows.
inline constexpr GemmConfig kTf32_128x128{GemmKernel::kTf32, 128, 128, 16, 3, 2, 2};
inline constexpr GemmConfig kTf32_64x128{GemmKernel::kTf32, 64, 128, 16, 4, 2, 2};
inline constexpr GemmConfig kTf32_64x64{GemmKernel::kTf32, 64, 64, 16, 4, 2, 2};
inline constexpr GemmConfig kSimt64x64{GemmKernel::kSimt, 64, 64, 8, 2, 4, 1, 3};
inline constexpr GemmConfig kSimt64x32{GemmKernel::kSimt, 64, 32, 8, 2, 4, 1, 3};  // double accumulators
// Few filters a group; half the threads, so that one still has 4 rows x 16 bytes of accumulators.
inline constexpr GemmConfig kSimt16x64{GemmKernel::kSimt, 16, 64, 8, 2, 2, 1, 8};
inline constexpr GemmConfig kSimt16x32{GemmKernel::kSimt, 16, 32, 8, 2, 2, 1, 8};  // double accumulators

inline constexpr GemmConfig kConfigs[] = {kMma128x128, kMma64x128, kMma64x64,  kTf32_128x128, kTf32_64x128,
                                          kTf32_64x64, kSimt64x64, kSimt64x32, kSimt16x64,    kSimt16x32};

// Kernels are templates over the place in that table, as those of plan/gemm_config.h.
constexpr int32_t index_of(const GemmConfig& config) {
  int32_t index = 0;
  while (!(kConfigs[index] == config)) ++index;  // no constant expression if it is not there
  return index;
}

// The tiles compiled for an element type.
template <int32_t... kIndices>
using Indices = std::integer_sequence<int32_t, kIndices...>;
using HalfConfigs = Indices<index_of(kMma128x128), index_of(kMma64x128), index_of(kMma64x64),
                            index_of(kSimt64x64), index_of(kSimt16x64)>;
using FloatConfigs = Indices<index_of(kTf32_128x128), index_of(kTf32_64x128), index_of(kTf32_64x64),
                             index_of(kSimt64x64), index_of(kSimt16x64)>;
using DoubleConfigs = Indices<index_of(kSimt64x32), index_of(kSimt16x32)>;
template <DType kType>
using ConfigsOf = std::conditional_t<kType == DType::kFloat64, DoubleConfigs,
                                     std::conditional_t<kType == DType::kFloat32, FloatConfigs, HalfConfigs>>;

}  // namespace maskconv::grad_weight
