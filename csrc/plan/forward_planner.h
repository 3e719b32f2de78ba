// Which forward kernel runs, and whether one can: pure functions of the problem, the type and the device.
#pragma once

#include <string>

#include "plan/forward_params.h"

namespace maskconv {

struct DeviceProperties {
  int32_t compute_capability = 90;  // major * 10 + minor
  int32_t multiprocessors = 132;
  int32_t shared_bytes_per_block = 232448;  // the opt-in maximum
};

// The mask as the caller has it; the forward kernels take none, or a hard one shared by all channels.
struct MaskTraits {
  bool soft = false;
  int32_t channels = 1;
};

// Bounded by what the bitsets of a tile take in shared memory: 128 bytes a row at 1024 taps.
constexpr int32_t kMaxTaps = 1024;

// "mma_128x64x32_s4": kernel, block_m x block_n x block_k, stages.
std::string name(const ForwardConfig& config);

// Throws std::invalid_argument, listing the names there are.
ForwardConfig forward_config_named(const std::string& name);

// Empty if the CUDA forward takes the problem, else why not, as the end of a sentence: "…, because <reason>".
std::string why_not_forward(const ConvProblem& problem, DType dtype, const MaskTraits& mask,
                            const DeviceProperties& device);
inline bool can_run_forward(const ConvProblem& problem, DType dtype, const MaskTraits& mask,
                            const DeviceProperties& device) {
  return why_not_forward(problem, dtype, mask, device).empty();
}

// Empty if `config` itself can run it. `aligned`: input and weight start on 16-byte boundaries.
std::string why_not_config(const ForwardConfig& config, const ConvProblem& problem, DType dtype, bool aligned,
                           const DeviceProperties& device);

// The tile to run. The problem must be one that can_run_forward accepts.
ForwardConfig choose_forward_config(const ConvProblem& problem, DType dtype, bool aligned,
                                    const DeviceProperties& device);

// True if both operands may be loaded 16 bytes at a time.
bool operands_aligned(const ForwardArguments& arguments);

ForwardParams make_forward_params(const ForwardArguments& arguments, const ForwardConfig& config);

}  // namespace maskconv
