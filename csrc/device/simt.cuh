// The operand loads and the arithmetic of the SIMT kernel. Stages hold both operands in accumulator precision
// and transposed: block_k lines of block_m input values and of block_n weights.
#pragma once

#include "device/smem.cuh"

namespace maskconv {

template <ForwardConfig kConfig, class Element>
struct SimtStage {
  using Acc = Accumulator<Element>;
  static constexpr int32_t kInputLine = kConfig.block_m + kSimtRowPadding / sizeof(Acc);
  static constexpr int32_t kFilterLine = kConfig.block_n + kSimtRowPadding / sizeof(Acc);

  static __device__ __forceinline__ Acc* input(unsigned char* stage, int32_t k, int32_t row) {
    return reinterpret_cast<Acc*>(stage) + k * kInputLine + row;
  }
  static __device__ __forceinline__ Acc* filter(unsigned char* stage, int32_t k, int32_t column) {
    return reinterpret_cast<Acc*>(stage) + kConfig.block_k * kInputLine + k * kFilterLine + column;
  }
};

// A thread loads one (tap, channel) of several rows and of several filters; the next step is block_k further
// on along taps x channels.
template <ForwardConfig kConfig, class Element>
class ScalarLoader {
 public:
  using Acc = Accumulator<Element>;
  using Stage = SimtStage<kConfig, Element>;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kConfig.block_k;
  static constexpr int32_t kInputRows = kConfig.block_m / kRowsAtOnce;
  static constexpr int32_t kFilterRows = kConfig.block_n / kRowsAtOnce;

  __device__ __forceinline__ ScalarLoader(const ForwardParams& params, const ForwardTile& tile,
                                          const ForwardSmem<kConfig, Element>& smem, int32_t live_taps)
      : smem_(smem),
        channels_(params.problem.channels_per_group()),
        live_taps_(live_taps),
        k_(threadIdx.x % kConfig.block_k),
        row_(threadIdx.x / kConfig.block_k),
        filters_(params.problem.filters_per_group() - tile.first_filter),
        filter_stride_(int64_t{params.problem.taps()} * channels_),
        input_(static_cast<const Element*>(params.input)),
        live_(k_ / channels_),
        channel_(k_ % channels_) {
    const int64_t filter =
        int64_t{tile.group} * params.problem.filters_per_group() + tile.first_filter + row_;
    weight_ = static_cast<const Element*>(params.weight) + filter * filter_stride_;
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i)
      base_[i] = ptx::load_shared(smem.row_base + row_ + i * kRowsAtOnce);
  }

  // Reads the next step into registers.
  __device__ __forceinline__ void fetch() {
    const bool in_reduction = live_ < live_taps_;
    const int32_t tap = in_reduction ? ptx::load_shared(smem_.live_tap + live_) : 0;
    const int64_t delta = (in_reduction ? ptx::load_shared(smem_.live_delta + live_) : 0) + channel_;
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i) {
      const uint32_t taps = ptx::load_shared(smem_.tap_word(row_ + i * kRowsAtOnce, tap));
      const bool live = in_reduction && (taps >> (tap % kTapsPerWord) & 1);
      values_[i] = live ? to_accumulator(ptx::load_global(input_ + base_[i] + delta)) : Acc{0};
    }
    const Element* weight = weight_ + int64_t{tap} * channels_ + channel_;
#pragma unroll
    for (int32_t i = 0; i < kFilterRows; ++i) {
      const bool exists = in_reduction && row_ + i * kRowsAtOnce < filters_;
      weights_[i] =
          exists ? to_accumulator(ptx::load_global(weight + i * kRowsAtOnce * filter_stride_)) : Acc{0};
    }
    channel_ += kConfig.block_k;
    while (channel_ >= channels_) {
      channel_ -= channels_;
      ++live_;
    }
  }

  // Writes them to a stage.
  __device__ __forceinline__ void put(unsigned char* stage) const {
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i)
      ptx::store_shared(Stage::input(stage, k_, row_ + i * kRowsAtOnce), values_[i]);
#pragma unroll
    for (int32_t i = 0; i < kFilterRows; ++i)
      ptx::store_shared(Stage::filter(stage, k_, row_ + i * kRowsAtOnce), weights_[i]);
  }

 private:
  const ForwardSmem<kConfig, Element>& smem_;
  const int32_t channels_;
  const int32_t live_taps_;
  const int32_t k_;
  const int32_t row_;
  const int32_t filters_;  // from the tile's first to the group's last
  const int64_t filter_stride_;
  const Element* input_;
  const Element* weight_;
  int64_t base_[kInputRows];
  int32_t live_;
  int32_t channel_;
  Acc values_[kInputRows];
  Acc weights_[kFilterRows];
};

// A thread's part of the tile: kRows neighbouring rows x one 16-byte vector of columns.
template <ForwardConfig kConfig, class Element>
class ThreadTile {
 public:
  using Acc = Accumulator<Element>;
  using Stage = SimtStage<kConfig, Element>;
  static constexpr int32_t kVector = kVectorBytes / sizeof(Acc);
  static constexpr int32_t kThreadsPerRow = kConfig.block_n / kVector;
  static constexpr int32_t kRows = kConfig.block_m * kThreadsPerRow / kConfig.threads();
  static_assert(kRows % kVector == 0, "rows are read in vectors too");

  __device__ __forceinline__ ThreadTile()
      : row_(threadIdx.x / kThreadsPerRow * kRows), column_(threadIdx.x % kThreadsPerRow * kVector) {}

  __device__ __forceinline__ void multiply(unsigned char* stage) {
#pragma unroll
    for (int32_t k = 0; k < kConfig.block_k; ++k) {
      const Vector weights =
          ptx::load_shared(reinterpret_cast<const Vector*>(Stage::filter(stage, k, column_)));
#pragma unroll
      for (int32_t i = 0; i < kRows; i += kVector) {
        const Vector values =
            ptx::load_shared(reinterpret_cast<const Vector*>(Stage::input(stage, k, row_ + i)));
#pragma unroll
        for (int32_t r = 0; r < kVector; ++r)
#pragma unroll
          for (int32_t c = 0; c < kVector; ++c) sums_[i + r].value[c] += values.value[r] * weights.value[c];
      }
    }
  }

  // Leaves the sums where the epilogue expects them.
  __device__ __forceinline__ void put(const ForwardSmem<kConfig, Element>& smem) const {
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      ptx::store_shared(reinterpret_cast<Vector*>(smem.accumulator(row_ + i, column_)), sums_[i]);
  }

 private:
  struct alignas(kVectorBytes) Vector {
    Acc value[kVector];
  };

  const int32_t row_;
  const int32_t column_;
  Vector sums_[kRows] = {};
};

}  // namespace maskconv
