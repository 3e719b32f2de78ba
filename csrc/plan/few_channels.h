// Tiles of the implicit GEMM for layers of few channels or few filters a group, and when they are the ones to
// run. Operands are loaded an element at a time, so nothing has to divide or be aligned.
#pragma once

#include <string>
#include <utility>

#include "plan/grad_weight_planner.h"
#include "plan/work.h"

namespace maskconv {
namespace few_channels {

// A warp gathers 32 reduction steps of a row at once: of RGB, ten taps.
inline constexpr GemmConfig kPacked128x64{GemmKernel::kPacked, 128, 64, 32, 2, 2, 2, 3};
inline constexpr GemmConfig kPacked128x32{GemmKernel::kPacked, 128, 32, 32, 2, 4, 1, 4};
inline constexpr GemmConfig kSimt128x16{GemmKernel::kSimt, 128, 16, 8, 2, 4, 1, 4};

// Of grad_weight, filters x (tap, channel) columns: 64 columns, for a row has as many bits for their taps.
// What is loaded ahead of the arithmetic waits in registers: of the larger tile only 16 rows fit.
inline constexpr GemmConfig kWeight64x64{GemmKernel::kPacked, 64, 64, 16, 2, 2, 2, 3};
inline constexpr GemmConfig kWeight32x64{GemmKernel::kPacked, 32, 64, 32, 2, 1, 4, 3};

inline constexpr GemmConfig kConfigs[] = {kPacked128x64, kPacked128x32, kSimt128x16, kWeight64x64,
                                          kWeight32x64};

// Kernels are templates over the place in that table, as those of plan/gemm_config.h.
constexpr int32_t index_of(const GemmConfig& config) {
  int32_t index = 0;
  while (!(kConfigs[index] == config)) ++index;  // no constant expression if it is not there
  return index;
}

// The tiles compiled for an element type.
template <DType kType>
constexpr bool kIsHalf = kType == DType::kFloat16 || kType == DType::kBFloat16;
template <int32_t... kIndices>
using Indices = std::integer_sequence<int32_t, kIndices...>;
template <DType kType>
using ConfigsOf =
    std::conditional_t<kIsHalf<kType>, Indices<index_of(kPacked128x64), index_of(kPacked128x32)>,
                       Indices<index_of(kSimt128x16)>>;

using WeightConfigs = Indices<index_of(kWeight64x64), index_of(kWeight32x64)>;  // half types only

// The tile for a product, and for grad_weight.
const GemmConfig& config_for(const GemmShape& shape, DType dtype);
const GemmConfig& weight_config_for(const ConvProblem& problem);

}  // namespace few_channels

// Empty if the few-channels kernel is one for the product, else why not, as the end of a sentence. `aligned`:
// operands start on 16-byte boundaries. What why_not_config has against the SIMT tile goes for this one too.
std::string why_not_few_channels(const ConvProblem& problem, const GemmShape& shape, DType dtype,
                                 bool aligned, const DeviceProperties& device);

std::string why_not_few_channels_grad_weight(const ConvProblem& problem, DType dtype, bool aligned,
                                             const DeviceProperties& device);

Work few_channels_work(const ConvProblem& problem, const GemmShape& shape, DType dtype);

}  // namespace maskconv
