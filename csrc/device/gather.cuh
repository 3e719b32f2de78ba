// Loads of the mma kernel: 16-byte asynchronous copies, zero where a tap's bit is not set. A hole in the
// image is not read, as the padding around it is not.
#pragma once

#include "device/smem.cuh"

namespace maskconv {

// A thread's share of the operand tiles: the same chunk of 16 bytes of several input rows and several
// filters. Reduction steps come in order: the channel blocks of the first live tap, then of the next.
template <ForwardConfig kConfig, class Element>
class OperandLoader {
 public:
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kRowChunks = kConfig.block_k / kChunkElements;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kRowChunks;
  static constexpr int32_t kInputRows = kConfig.block_m / kRowsAtOnce;
  static constexpr int32_t kFilterRows = kConfig.block_n / kRowsAtOnce;
  static constexpr int32_t kFilterOffset = kConfig.block_m * kConfig.block_k * sizeof(Element);  // in a stage
  static_assert(kConfig.block_m % kRowsAtOnce == 0 && kConfig.block_n % kRowsAtOnce == 0,
                "every thread loads as many rows");

  __device__ __forceinline__ OperandLoader(const ForwardParams& params, const ForwardTile& tile,
                                           const ForwardSmem<kConfig, Element>& smem)
      : smem_(smem),
        channels_(params.problem.channels_per_group()),
        row_(threadIdx.x / kRowChunks),
        chunk_(threadIdx.x % kRowChunks) {
    const int32_t filters = params.problem.filters_per_group();
    const int64_t filter_stride = int64_t{params.problem.taps()} * channels_;
    const int64_t first_filter = int64_t{tile.group} * filters + tile.first_filter;
    const int32_t offset = chunk_ * kChunkElements;
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i)
      input_[i] = static_cast<const Element*>(params.input) +
                  ptx::load_shared(smem.row_base + row_ + i * kRowsAtOnce) + offset;
#pragma unroll
    for (int32_t i = 0; i < kFilterRows; ++i) {
      const int32_t filter = row_ + i * kRowsAtOnce;
      weight_[i] =
          static_cast<const Element*>(params.weight) + (first_filter + filter) * filter_stride + offset;
      filter_exists_ |= uint32_t{tile.first_filter + filter < filters} << i;
    }
  }

  // Starts the loads of the next reduction step.
  __device__ __forceinline__ void load(unsigned char* stage) {
    if (channel_ == 0) enter_tap();
    const bool in_channels = channel_ + chunk_ * kChunkElements < channels_;
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i)
      ptx::cp_async<kVectorBytes>(stage + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_),
                                  input_[i] + input_delta_ + channel_, in_channels && (row_live_ >> i & 1));
#pragma unroll
    for (int32_t i = 0; i < kFilterRows; ++i)
      ptx::cp_async<kVectorBytes>(
          stage + kFilterOffset + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_),
          weight_[i] + weight_delta_ + channel_, in_channels && (filter_exists_ >> i & 1));
    channel_ += kConfig.block_k;
    if (channel_ >= channels_) {
      channel_ = 0;
      ++live_;
    }
  }

 private:
  __device__ __forceinline__ void enter_tap() {
    const int32_t tap = ptx::load_shared(smem_.live_tap + live_);
    input_delta_ = ptx::load_shared(smem_.live_delta + live_);
    weight_delta_ = int64_t{tap} * channels_;
    row_live_ = 0;
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i) {
      const uint32_t word = ptx::load_shared(smem_.tap_word(row_ + i * kRowsAtOnce, tap));
      row_live_ |= (word >> (tap % kTapsPerWord) & 1) << i;
    }
  }

  const ForwardSmem<kConfig, Element>& smem_;
  const int32_t channels_;
  const int32_t row_;
  const int32_t chunk_;
  const Element* input_[kInputRows];
  const Element* weight_[kFilterRows];
  int64_t input_delta_ = 0;
  int64_t weight_delta_ = 0;
  uint32_t row_live_ = 0;       // bit i: the tap is live in the thread's i-th row
  uint32_t filter_exists_ = 0;  // bit i: the i-th filter is within the group
  int32_t live_ = 0;
  int32_t channel_ = 0;
};

}  // namespace maskconv
