// Which tile an implicit GEMM runs with, and whether it can: what forward and grad_input share.
#pragma once

#include <string>

#include "plan/gemm_params.h"

namespace maskconv {

struct DeviceProperties {
  int32_t compute_capability = 90;  // major * 10 + minor
  int32_t multiprocessors = 132;
  int32_t shared_bytes_per_block = 232448;  // the opt-in maximum
};

// The mask as the caller has it; the CUDA kernels take none, or a hard one shared by all channels.
struct MaskTraits {
  bool soft = false;
  int32_t channels = 1;
};

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

// "mma_128x128x32_s4": kernel, block_m x block_n x block_k, stages.
std::string name(const GemmConfig& config);

// Throws std::invalid_argument, listing the names there are.
GemmConfig gemm_config_named(const std::string& name);

// Empty if the CUDA kernels can work with the mask, else why not, as the end of a sentence.
std::string why_not_mask(const MaskTraits& mask);

// Empty if the positions that windows reach can be counted in 32 bits, else why not.
std::string why_not_reach(const ConvProblem& problem);

// Empty if `config` can run the product, else why not. `aligned`: operands start on 16-byte boundaries.
std::string why_not_config(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape,
                           DType dtype, bool aligned, const DeviceProperties& device);

// The config that runs every shape of this type.
const GemmConfig& simt_config(DType dtype);

// The tile to run: simt_config(dtype) must be able to.
GemmConfig choose_config(const ConvProblem& problem, const GemmShape& shape, DType dtype, bool aligned,
                         const DeviceProperties& device);

bool is_aligned(const void* pointer);  // to kVectorBytes

// Fills in what follows from shape, config and type; problem and pointers are there already.
void set_shape(GemmParams& params, const GemmShape& shape, const GemmConfig& config, DType dtype);

}  // namespace maskconv
