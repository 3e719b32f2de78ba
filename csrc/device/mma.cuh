// A warp's part of the tile on tensor cores: from the swizzled stages to sums in registers.
#pragma once

#include "device/fragments.cuh"
#include "device/gather.cuh"

namespace maskconv {

template <class Weights, GemmConfig kConfig, class Element>
class WarpTile {
 public:
  static constexpr int32_t kMmaM = Mma<Element>::kM;
  static constexpr int32_t kMmaN = Mma<Element>::kN;
  static constexpr int32_t kMmaK = Mma<Element>::kK;
  static constexpr int32_t kRows = kConfig.block_m / kConfig.warps_m;
  static constexpr int32_t kColumns = kConfig.block_n / kConfig.warps_n;
  static constexpr int32_t kTilesM = kRows / kMmaM;
  static constexpr int32_t kTilesN = kColumns / kMmaN;
  static_assert(kTilesN % 2 == 0, "a fragment holds the weights of two mma");
  static_assert(kConfig.block_k % kMmaK == 0, "a stage is a whole number of mma deep");

  __device__ __forceinline__ WarpTile()
      : lane_(threadIdx.x % 32),
        row_(threadIdx.x / 32 / kConfig.warps_n * kRows),
        column_(threadIdx.x / 32 % kConfig.warps_n * kColumns) {}

  __device__ __forceinline__ void multiply(const unsigned char* stage) {
#pragma unroll
    for (int32_t k = 0; k < kConfig.block_k; k += kMmaK) {
      uint32_t a[kTilesM][4];
      uint32_t b[kTilesN / 2][4];
#pragma unroll
      for (int32_t m = 0; m < kTilesM; ++m) {
        Loader::Tile::load_a(a[m], stage, row_ + m * kMmaM, k, lane_);
        Mma<Element>::round(a[m]);
      }
#pragma unroll
      for (int32_t n = 0; n < kTilesN / 2; ++n) {
        Weights::Tile::load_b(b[n], stage + Loader::kWeightOffset, column_ + n * 2 * kMmaN, k, lane_);
        Mma<Element>::round(b[n]);
      }
#pragma unroll
      for (int32_t m = 0; m < kTilesM; ++m)
#pragma unroll
        for (int32_t n = 0; n < kTilesN; ++n)
          Mma<Element>::multiply(sums_[m][n], a[m], {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]});
    }
  }

  // By a factor for each row of the block's tile.
  __device__ __forceinline__ void multiply_rows(const float* factors) {
#pragma unroll
    for (int32_t m = 0; m < kTilesM; ++m)
#pragma unroll
      for (int32_t half = 0; half < 2; ++half) {
        const float factor = ptx::load_shared(factors + row_ + m * kMmaM + half * 8 + lane_ / 4);
#pragma unroll
        for (int32_t n = 0; n < kTilesN; ++n) {
          sums_[m][n][half * 2] *= factor;
          sums_[m][n][half * 2 + 1] *= factor;
        }
      }
  }

  // Leaves the sums where the epilogue expects them.
  __device__ __forceinline__ void put(const GemmSmem<kConfig, Element>& smem) const {
#pragma unroll
    for (int32_t m = 0; m < kTilesM; ++m)
#pragma unroll
      for (int32_t n = 0; n < kTilesN; ++n)
#pragma unroll
        for (int32_t half = 0; half < 2; ++half) {
          const int32_t row = row_ + m * kMmaM + half * 8 + lane_ / 4;
          const int32_t column = column_ + n * kMmaN + lane_ % 4 * 2;
          ptx::store_shared(reinterpret_cast<Pair*>(smem.accumulator(row, column)),
                            Pair{{sums_[m][n][half * 2], sums_[m][n][half * 2 + 1]}});
        }
  }

 private:
  using Loader = OperandLoader<Weights, kConfig, Element>;
  struct alignas(8) Pair {
    float value[2];
  };

  const int32_t lane_;
  const int32_t row_;
  const int32_t column_;
  float sums_[kTilesM][kTilesN][4] = {};
};

}  // namespace maskconv
