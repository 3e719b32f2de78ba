// Loads of the mma kernel: 16-byte asynchronous copies, zero where a tap's bit is not set. A hole in the
// source is not read, as the padding around it is not.
#pragma once

#include "device/fragments.cuh"

namespace maskconv {

// A thread's share of the operand tiles: the same chunk of 16 bytes of several source rows, and what Weights
// makes its share of the weights. Reduction steps come in order: the depth blocks of the first live tap, then
// of the next.
template <class Weights, GemmConfig kConfig, class Element>
class OperandLoader {
 public:
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kRowChunks = kConfig.block_k / kChunkElements;
  using Tile = TileOfLines<Element, kRowChunks>;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kRowChunks;
  static constexpr int32_t kRows = kConfig.block_m / kRowsAtOnce;
  static constexpr int32_t kWeightOffset = kConfig.block_m * kConfig.block_k * sizeof(Element);  // in a stage
  static_assert(kConfig.block_m % kRowsAtOnce == 0, "every thread loads as many rows");

  __device__ __forceinline__ OperandLoader(const GemmParams& params, const GemmTile& tile,
                                           const GemmSmem<kConfig, Element>& smem)
      : smem_(smem),
        weights_(params, tile),
        tap_stride_(params.weight_tap_stride),
        source_pitch_(params.source_pitch),
        depth_(params.depth),
        row_(threadIdx.x / kRowChunks),
        chunk_(threadIdx.x % kRowChunks) {
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      source_[i] = static_cast<const Element*>(params.source) +
                   ptx::load_shared(smem.row_base + row_ + i * kRowsAtOnce) + chunk_ * kChunkElements;
  }

  // Starts the loads of the next reduction step.
  __device__ __forceinline__ void load(unsigned char* stage) {
    if (next_ == 0) enter_tap();
    const bool in_depth = next_ + chunk_ * kChunkElements < depth_;
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      ptx::cp_async<kVectorBytes>(stage + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_),
                                  source_[i] + source_delta_ + next_, in_depth && (row_live_ >> i & 1));
    weights_.load(stage + kWeightOffset, weight_delta_, next_);
    next_ += kConfig.block_k;
    if (next_ >= depth_) {
      next_ = 0;
      ++live_;
    }
  }

 private:
  __device__ __forceinline__ void enter_tap() {
    const int32_t tap = ptx::load_shared(smem_.live_tap + live_);
    source_delta_ = ptx::load_shared(smem_.live_delta + live_) * source_pitch_;
    weight_delta_ = tap * tap_stride_;
    row_live_ = 0;
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i) {
      const uint32_t word = ptx::load_shared(smem_.tap_word(row_ + i * kRowsAtOnce, tap));
      row_live_ |= (word >> (tap % kTapsPerWord) & 1) << i;
    }
  }

  const GemmSmem<kConfig, Element>& smem_;
  Weights weights_;
  const int64_t tap_stride_;
  const int32_t source_pitch_;
  const int32_t depth_;
  const int32_t row_;
  const int32_t chunk_;
  const Element* source_[kRows];
  int64_t source_delta_ = 0;
  int64_t weight_delta_ = 0;
  uint32_t row_live_ = 0;  // bit i: the tap is live in the thread's i-th row
  int32_t live_ = 0;       // place of the next step's tap in the list ...
  int32_t next_ = 0;       // ... and its first step of the depth
};

}  // namespace maskconv
