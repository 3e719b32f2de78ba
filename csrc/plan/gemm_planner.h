// Which tile an implicit GEMM runs with, and whether it can: what forward and grad_input share.
#pragma once

#include <string>

#include "plan/device_properties.h"
#include "plan/gemm_params.h"

namespace maskconv {

// Bounded by what the bitsets of a tile take in shared memory: 128 bytes a row at 1024 taps.
constexpr int32_t kMaxTaps = 1024;

// The product a pass of a problem comes to.
struct GemmShape {
  int64_t rows = 0;            // of one class
  int64_t row_classes = 1;     // tiles hold rows of one class only
  int32_t columns = 0;         // of one group
  int32_t depth = 0;           // of one tap, in one group
  bool loads_columns = false;  // 16-byte loads of weights run along the columns, not along the depth
};

int64_t row_tiles(const GemmShape& shape, const GemmConfig& config);

// "mma_128x128x32_s4": kernel (mma, tf32 or simt), block_m x block_n x block_k, stages.
std::string name(const GemmConfig& config);

// Throws std::invalid_argument, listing the names there are.
GemmConfig gemm_config_named(const std::string& name);

// Empty if tensor cores take the type as the tile's kernel does, else why not. For grad_weight's tiles too.
std::string why_not_tensor_cores(const GemmConfig& config, const ConvProblem& problem, DType dtype,
                                 const DeviceProperties& device);

// Channels that tensor cores load at once: counts of them in a group have to be multiples.
constexpr int32_t tensor_core_channels(DType dtype) { return kVectorBytes / element_bytes(dtype); }

// Empty if the positions that windows reach can be counted in 32 bits, else why not.
std::string why_not_reach(const ConvProblem& problem);

// Empty if `config` can run the product, else why not. `aligned`: operands start on 16-byte boundaries.
std::string why_not_config(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape,
                           DType dtype, bool aligned, const DeviceProperties& device);

// The config that runs every shape of this type.
const GemmConfig& simt_config(DType dtype);

// The tile expected to be fastest (plan/cost.h): simt_config(dtype) must be able to run.
GemmConfig choose_config(const ConvProblem& problem, const GemmShape& shape, DType dtype, bool aligned,
                         const DeviceProperties& device);

bool is_aligned(const void* pointer);  // to kVectorBytes

// Fills in what follows from shape, config and type; problem and pointers are there already.
void set_shape(GemmParams& params, const GemmShape& shape, const GemmConfig& config, DType dtype);

}  // namespace maskconv
