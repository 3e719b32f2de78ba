// The weights of the mma kernel, (K, taps, C / groups) in memory, in both directions: whichever of the tile's
// columns and the reduction depth is the contiguous one makes the rows of 16-byte chunks in shared memory.
// Each class has a thread's share of the loads, and the Tile they make.
#pragma once

#include "device/fragments.cuh"

namespace maskconv {

// A row of the operand tile is a column of the product, along the depth: forward, whose columns are filters.
template <GemmConfig kConfig, class Element>
class WeightColumns {
 public:
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kRowChunks = kConfig.block_k / kChunkElements;
  using Tile = TileOfLines<Element, kRowChunks>;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kRowChunks;
  static constexpr int32_t kRows = kConfig.block_n / kRowsAtOnce;
  static_assert(kConfig.block_n % kRowsAtOnce == 0, "every thread loads as many rows");

  __device__ __forceinline__ WeightColumns(const GemmParams& params, const GemmTile& tile)
      : depth_(params.depth), row_(threadIdx.x / kRowChunks), chunk_(threadIdx.x % kRowChunks) {
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i) {
      const int32_t column = tile.first_column + row_ + i * kRowsAtOnce;
      weight_[i] = static_cast<const Element*>(params.weight) + tile.group * params.weight_group_stride +
                   column * params.weight_column_stride + chunk_ * kChunkElements;
      column_exists_ |= uint32_t{column < params.columns} << i;
    }
  }

  // Starts the loads of block_k steps from `depth` on, of the tap at that offset.
  __device__ __forceinline__ void load(unsigned char* operand, int64_t tap_offset, int32_t depth) {
    const bool in_depth = depth + chunk_ * kChunkElements < depth_;
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      ptx::cp_async<kVectorBytes>(operand + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_),
                                  weight_[i] + tap_offset + depth, in_depth && (column_exists_ >> i & 1));
  }

 private:
  const int32_t depth_;
  const int32_t row_;
  const int32_t chunk_;
  const Element* weight_[kRows];
  uint32_t column_exists_ = 0;  // bit i: the i-th column is within the group
};

// A row of the operand tile is a step of the depth, along the columns: grad_input, whose depth is filters.
template <GemmConfig kConfig, class Element>
class WeightDepths {
 public:
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kRowChunks = kConfig.block_n / kChunkElements;
  using Tile = TileOfSteps<Element, kRowChunks>;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kRowChunks;
  static constexpr int32_t kRows = kConfig.block_k / kRowsAtOnce;
  static_assert(kConfig.block_k % kRowsAtOnce == 0, "every thread loads as many rows");

  __device__ __forceinline__ WeightDepths(const GemmParams& params, const GemmTile& tile)
      : depth_(params.depth),
        depth_stride_(params.weight_depth_stride),
        row_(threadIdx.x / kRowChunks),
        chunk_(threadIdx.x % kRowChunks) {
    const int32_t column = tile.first_column + chunk_ * kChunkElements;
    weight_ = static_cast<const Element*>(params.weight) + tile.group * params.weight_group_stride + column +
              row_ * depth_stride_;
    columns_exist_ = column < params.columns;
  }

  __device__ __forceinline__ void load(unsigned char* operand, int64_t tap_offset, int32_t depth) {
    const Element* weight = weight_ + tap_offset + depth * depth_stride_;
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      ptx::cp_async<kVectorBytes>(operand + Tile::place(row_ + i * kRowsAtOnce, chunk_),
                                  weight + i * kRowsAtOnce * depth_stride_,
                                  columns_exist_ && depth + row_ + i * kRowsAtOnce < depth_);
  }

 private:
  const int32_t depth_;
  const int64_t depth_stride_;
  const int32_t row_;
  const int32_t chunk_;
  const Element* weight_;
  bool columns_exist_;
};

}  // namespace maskconv
