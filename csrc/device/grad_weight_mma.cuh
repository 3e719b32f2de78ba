// grad_weight on tensor cores: both operands lie in memory with the reduction axis, the output row, as their
// row.
#pragma once

#include <bit>
#include <cstddef>

#include "device/fragments.cuh"
#include "device/grad_weight_result.cuh"
#include "device/grad_weight_rows.cuh"

namespace maskconv::grad_weight {

// How an operand of block_k rows x kWidth elements is dealt out to threads: 16 bytes of several rows each.
template <GemmConfig kConfig, class Element, int32_t kWidth>
struct Share {
  static constexpr int32_t kChunkElements = Mma<Element>::kChunkElements;
  static constexpr int32_t kRowChunks = kWidth / kChunkElements;
  using Tile = TileOfSteps<Element, kRowChunks>;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kRowChunks;
  static constexpr int32_t kRows = kConfig.block_k / kRowsAtOnce;
  static_assert(kConfig.block_k % kRowsAtOnce == 0, "every thread loads as many rows");

  const int32_t row = threadIdx.x / kRowChunks;
  const int32_t chunk = threadIdx.x % kRowChunks;

  __device__ __forceinline__ int32_t first_element() const { return chunk * kChunkElements; }
};

// A thread keeps its filters, and its columns, and so its tap: steps differ in their rows only.
template <GemmConfig kConfig, class Element>
class RowLoader {
 public:
  static constexpr int32_t kInputOffset = kConfig.block_k * kConfig.block_m * sizeof(Element);  // in a stage

  __device__ __forceinline__ RowLoader(const GradWeightParams& params, const Tile& tile,
                                       const Smem<kConfig, Element>& smem)
      : smem_(smem),
        grad_(static_cast<const Element*>(params.gradient.grad) + filters_.first_element()),
        input_(static_cast<const Element*>(params.input)),
        filters_exist_(tile.first_filter + filters_.first_element() < params.problem.filters_per_group()) {
    const ConvProblem& problem = params.problem;
    const int64_t first = tile.first_column + columns_.first_element();
    columns_exist_ = first < params.columns();
    const Column column(problem, columns_exist_ ? first : tile.first_column);
    tap_bit_ = column.tap - Column(problem, tile.first_column).tap;
    input_ += TapIndex(problem, column.tap).delta(problem) * problem.channels + column.channel;
  }

  // Starts the loads of block_k rows of the list, of which `rows` are to be multiplied.
  __device__ __forceinline__ void load(unsigned char* stage, int32_t first, int32_t rows) {
#pragma unroll
    for (int32_t i = 0; i < Filters::kRows; ++i) {
      const int32_t row = filters_.row + i * Filters::kRowsAtOnce;
      const bool exists = filters_exist_ && first + row < rows;
      const int64_t offset = exists ? ptx::load_shared(smem_.row_grad(first + row)) : 0;
      ptx::cp_async<kVectorBytes>(stage + Filters::Tile::place(row, filters_.chunk), grad_ + offset, exists);
    }
#pragma unroll
    for (int32_t i = 0; i < Columns::kRows; ++i) {
      const int32_t row = columns_.row + i * Columns::kRowsAtOnce;
      const bool exists = columns_exist_ && first + row < rows;
      const int64_t offset = exists ? ptx::load_shared(smem_.row_input(first + row)) : 0;
      const bool live = exists && (ptx::load_shared(smem_.row_taps(first + row)) >> tap_bit_ & 1);
      ptx::cp_async<kVectorBytes>(stage + kInputOffset + Columns::Tile::place(row, columns_.chunk),
                                  input_ + offset, live);
    }
  }

 private:
  using Filters = Share<kConfig, Element, kConfig.block_m>;
  using Columns = Share<kConfig, Element, kConfig.block_n>;

  const Smem<kConfig, Element>& smem_;
  const Filters filters_;
  const Columns columns_;
  const Element* const grad_;
  const Element* input_;  // at the thread's tap and channel
  const bool filters_exist_;
  bool columns_exist_;
  int32_t tap_bit_;  // of the bits of a row
};

// The scales of a step, for the columns' fragments: an mma has no place for a factor of its reduction axis.
// The input takes them, not the gradient, which loss scaling pushes towards the end of fp16.
template <GemmConfig kConfig, class Element>
class StepScales {
 public:
  // Of an mma's steps from that entry of the list on.
  __device__ __forceinline__ StepScales(const RowScales<kConfig, Element>& scales, int32_t entry,
                                        int32_t lane) {
#pragma unroll
    for (int32_t i = 0; i < 2; ++i) {
      if constexpr (Mma<Element>::kIsTf32) {
        scale_[i] = scales.get(entry + i * 4 + lane % 4);
      } else {
        upper_[i] = scales.pair(false, entry + i * 8 + lane % 4 * 2);
        lower_[i] = scales.pair(true, entry + i * 8 + lane % 4 * 2);
      }
    }
  }

  // The quarters of a fragment as TileOfSteps loads them: both halves of the steps, of 8 columns and 8 more.
  __device__ __forceinline__ void multiply(uint32_t (&b)[4]) const {
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) {
      if constexpr (Mma<Element>::kIsTf32) {
        b[i] = std::bit_cast<uint32_t>(std::bit_cast<float>(b[i]) * scale_[i % 2]);
      } else {
        b[i] = ptx::multiply_pair<Element>(b[i], upper_[i % 2], lower_[i % 2]);
      }
    }
  }

 private:
  float scale_[2];
  uint32_t upper_[2];
  uint32_t lower_[2];
};

// A warp's part of the tile.
template <GemmConfig kConfig, class Element>
class WarpSums {
 public:
  static constexpr int32_t kMmaM = Mma<Element>::kM;
  static constexpr int32_t kMmaN = Mma<Element>::kN;
  static constexpr int32_t kMmaK = Mma<Element>::kK;
  static constexpr int32_t kFilters = kConfig.block_m / kConfig.warps_m;
  static constexpr int32_t kColumns = kConfig.block_n / kConfig.warps_n;
  static constexpr int32_t kTilesM = kFilters / kMmaM;
  static constexpr int32_t kTilesN = kColumns / kMmaN;
  static_assert(kTilesN % 2 == 0, "a fragment holds the columns of two mma");
  static_assert(kConfig.block_k % kMmaK == 0, "a stage is a whole number of mma deep");

  __device__ __forceinline__ WarpSums()
      : lane_(threadIdx.x % 32),
        filter_(threadIdx.x / 32 / kConfig.warps_n * kFilters),
        column_(threadIdx.x / 32 % kConfig.warps_n * kColumns) {}

  // A stage, whose rows are those from `first` on of the list; `scales` is a RowScales*, null without a
  // scale, or nullptr where the operands have it already.
  template <class Scales>
  __device__ __forceinline__ void multiply(const unsigned char* stage, int32_t first, Scales scales) {
    using Filters = Share<kConfig, Element, kConfig.block_m>;
    using Columns = Share<kConfig, Element, kConfig.block_n>;
    const unsigned char* const input = stage + RowLoader<kConfig, Element>::kInputOffset;
#pragma unroll
    for (int32_t k = 0; k < kConfig.block_k; k += kMmaK) {
      uint32_t a[kTilesM][4];
      uint32_t b[kTilesN / 2][4];
#pragma unroll
      for (int32_t m = 0; m < kTilesM; ++m) {
        Filters::Tile::load_a(a[m], stage, filter_ + m * kMmaM, k, lane_);
        Mma<Element>::round(a[m]);
      }
#pragma unroll
      for (int32_t n = 0; n < kTilesN / 2; ++n) {
        Columns::Tile::load_b(b[n], input, column_ + n * 2 * kMmaN, k, lane_);
      }
      if constexpr (!std::is_same_v<Scales, std::nullptr_t>)
        if (scales != nullptr) {
          const StepScales<kConfig, Element> of_step(*scales, first + k, lane_);
#pragma unroll
          for (int32_t n = 0; n < kTilesN / 2; ++n) of_step.multiply(b[n]);
        }
#pragma unroll
      for (int32_t n = 0; n < kTilesN / 2; ++n) Mma<Element>::round(b[n]);
#pragma unroll
      for (int32_t m = 0; m < kTilesM; ++m)
#pragma unroll
        for (int32_t n = 0; n < kTilesN; ++n)
          Mma<Element>::multiply(sums_[m][n], a[m], {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]});
    }
  }

  // Four lanes store 32 bytes of a filter: whole sectors of a workspace. kCount 1: where columns are odd.
  template <int32_t kCount = 2>
  __device__ __forceinline__ void store(const Destination<Element>& to) const {
#pragma unroll
    for (int32_t m = 0; m < kTilesM; ++m)
#pragma unroll
      for (int32_t n = 0; n < kTilesN; ++n)
#pragma unroll
        for (int32_t half = 0; half < 2; ++half) {
          const int32_t filter = filter_ + m * kMmaM + half * 8 + lane_ / 4;
          const int32_t column = column_ + n * kMmaN + lane_ % 4 * 2;
          const float low = sums_[m][n][half * 2], high = sums_[m][n][half * 2 + 1];
          if constexpr (kCount == 2) {
            to.template store<2>(filter, column, {low, high});
          } else {
            to.template store<1>(filter, column, {low});
            to.template store<1>(filter, column + 1, {high});
          }
        }
  }

 private:
  const int32_t lane_;
  const int32_t filter_;
  const int32_t column_;
  float sums_[kTilesM][kTilesN][4] = {};
};

}  // namespace maskconv::grad_weight
