// The tiles the implicit GEMM is compiled for: one table, read by the kernels (as template arguments), by the
// planner and by the launchers.
#pragma once

#include <cstdint>

namespace maskconv {

enum class GemmKernel : int32_t {
  kMma /* fp16, bf16 on tensor cores */,
  kTf32 /* fp32 on tensor cores, which round its factors to TF32 */,
  kPacked /* likewise, operands loaded an element at a time: any channel count */,
  kSimt /* any type, any channel count */
};

// A block computes block_m positions x block_n channels of one group of the result, block_k reduction steps
// at a time.
struct GemmConfig {
  GemmKernel kernel = GemmKernel::kMma;
  int32_t block_m = 0;
  int32_t block_n = 0;
  int32_t block_k = 0;
  int32_t stages = 0;   // shared-memory buffers: loads run stages - 1 reduction steps ahead of the arithmetic
  int32_t warps_m = 0;  // on tensor cores: warps along the rows of the tile ...
  int32_t warps_n = 0;  // ... and along its columns
  int32_t blocks = 0;   // that must fit a multiprocessor, which caps the registers; 0: ptxas chooses

  constexpr int32_t threads() const { return 32 * warps_m * warps_n; }
  constexpr bool on_tensor_cores() const { return kernel != GemmKernel::kSimt; }
  constexpr bool operator==(const GemmConfig&) const = default;
};

// 128 rows a tile: one row a thread in the prologue, and few enough for holes to empty whole (tile, tap)
// pairs. block_k 32 (64 bytes a row) fills whole sectors and wastes little where channels end; 4 stages of it
// leave room for 4 blocks (2 of 128 x 128) on an SM of 227 KiB.
// Twice the rows share a load of weights: what L2 delivers limits these kernels, and a multiply-add of a 256
// x 128 tile takes three quarters of the loads that one of 128 x 128 does.
inline constexpr GemmConfig kMma256x128{GemmKernel::kMma, 256, 128, 32, 4, 4, 2};
inline constexpr GemmConfig kMma256x64{GemmKernel::kMma, 256, 64, 32, 4, 4, 1};
inline constexpr GemmConfig kMma128x128{GemmKernel::kMma, 128, 128, 32, 4, 2, 2};
inline constexpr GemmConfig kMma128x64{GemmKernel::kMma, 128, 64, 32, 4, 2, 2};
// Small problems: more blocks. Left to itself ptxas makes room for a fifth on a multiprocessor, and spills.
inline constexpr GemmConfig kMma64x64{GemmKernel::kMma, 64, 64, 32, 4, 2, 2, 4};
// The same bytes a row, and so the same stages: half as many steps of elements twice as wide.
inline constexpr GemmConfig kTf32_256x128{GemmKernel::kTf32, 256, 128, 16, 4, 4, 2};
inline constexpr GemmConfig kTf32_256x64{GemmKernel::kTf32, 256, 64, 16, 4, 4, 1};
inline constexpr GemmConfig kTf32_128x128{GemmKernel::kTf32, 128, 128, 16, 4, 2, 2};
inline constexpr GemmConfig kTf32_128x64{GemmKernel::kTf32, 128, 64, 16, 4, 2, 2, 3};
inline constexpr GemmConfig kTf32_64x64{GemmKernel::kTf32, 64, 64, 16, 4, 2, 2, 4};
// The SIMT tiles give a thread 8 rows x 16 bytes of accumulators. block_k 8 is what one conflict-free store
// of 32 lanes transposes: 8 reduction steps of 4 rows. ptxas would spill here too.
inline constexpr GemmConfig kSimt64x64{GemmKernel::kSimt, 64, 64, 8, 2, 4, 1, 4};
inline constexpr GemmConfig kSimt64x32{GemmKernel::kSimt, 64, 32, 8, 2, 4, 1, 4};  // double accumulators

inline constexpr GemmConfig kGemmConfigs[] = {
    kMma256x128,  kMma256x64,    kMma128x128,  kMma128x64,  kMma64x64,  kTf32_256x128,
    kTf32_256x64, kTf32_128x128, kTf32_128x64, kTf32_64x64, kSimt64x64, kSimt64x32,
};

// Kernels are templates over the place in that table: nvcc (13.0) cannot name one whose argument is a class
// value.
constexpr int32_t config_index(const GemmConfig& config) {
  int32_t index = 0;
  while (!(kGemmConfigs[index] == config)) ++index;  // no constant expression if it is not there
  return index;
}

}  // namespace maskconv
