// Operand loads for any channel count and alignment, an element at a time, and the arithmetic of the SIMT
// kernel. Its stages hold both operands in accumulator precision and transposed: block_k lines of block_m
// source values and of block_n weights.
#pragma once

#include "device/smem.cuh"

namespace maskconv {

template <GemmConfig kConfig, class Element>
struct SimtStage {
  using Acc = Accumulator<Element>;
  using Value = Acc;
  static constexpr int32_t kSourceLine = kConfig.block_m + kSimtRowPadding / sizeof(Acc);
  static constexpr int32_t kWeightLine = kConfig.block_n + kSimtRowPadding / sizeof(Acc);

  static __device__ __forceinline__ Acc value(Element element) { return to_accumulator(element); }
  static __device__ __forceinline__ Acc scaled(Element element, Acc scale) {
    return to_accumulator(element) * scale;
  }
  static __device__ __forceinline__ Acc* source(unsigned char* stage, int32_t k, int32_t row) {
    return reinterpret_cast<Acc*>(stage) + k * kSourceLine + row;
  }
  static __device__ __forceinline__ Acc* weight(unsigned char* stage, int32_t k, int32_t column) {
    return reinterpret_cast<Acc*>(stage) + kConfig.block_k * kSourceLine + k * kWeightLine + column;
  }
};

// A thread loads one (tap, depth) of several rows and of several columns; the next step is block_k further on
// along taps x depth. Stage says what they become, and where they go.
template <class Pass, class Stage, GemmConfig kConfig, class Element>
class ScalarLoader {
 public:
  using Value = typename Stage::Value;
  static constexpr int32_t kRowsAtOnce = kConfig.threads() / kConfig.block_k;
  static constexpr int32_t kSourceRows = kConfig.block_m / kRowsAtOnce;
  static constexpr int32_t kColumns = kConfig.block_n / kRowsAtOnce;

  __device__ __forceinline__ ScalarLoader(const typename Pass::Params& params, const GemmTile& tile,
                                          const GemmSmem<kConfig, Element>& smem, int32_t live_taps)
      : params_(params),
        tile_(tile),
        smem_(smem),
        depth_(params.depth),
        live_taps_(live_taps),
        k_(threadIdx.x % kConfig.block_k),
        row_(threadIdx.x / kConfig.block_k),
        columns_(params.columns - tile.first_column),
        column_stride_(params.weight_column_stride),
        depth_stride_(params.weight_depth_stride),
        tap_stride_(params.weight_tap_stride),
        source_(static_cast<const Element*>(params.source)),
        weight_(static_cast<const Element*>(params.weight) + tile.group * params.weight_group_stride +
                (tile.first_column + row_) * column_stride_),
        live_(k_ / depth_),
        next_(k_ % depth_) {
    if constexpr (kKeepsBases)
#pragma unroll
      for (int32_t i = 0; i < kSourceRows; ++i) base_[i] = row_base(i);
  }

  // Reads the next step into registers.
  __device__ __forceinline__ void fetch() {
    const bool in_reduction = live_ < live_taps_;
    const int32_t tap = in_reduction ? ptx::load_shared(smem_.live_tap + live_) : 0;
    const int64_t ahead = in_reduction ? ptx::load_shared(smem_.live_delta + live_) : 0;  // positions
    const int64_t delta = ahead * params_.source_pitch + next_;
#pragma unroll
    for (int32_t i = 0; i < kSourceRows; ++i) {
      const uint32_t taps = ptx::load_shared(smem_.tap_word(row_ + i * kRowsAtOnce, tap));
      const bool live = in_reduction && (taps >> (tap % kTapsPerWord) & 1);
      const int64_t base = kKeepsBases ? base_[i % kBases] : row_base(i);
      values_[i] = Value{};
      const int64_t window = row_window(i);
      if (live) values_[i] = value(ptx::load_global(source_ + base + delta), window, ahead);
    }
    const Element* weight = weight_ + tap * tap_stride_ + next_ * depth_stride_;
#pragma unroll
    for (int32_t i = 0; i < kColumns; ++i) {
      const bool exists = in_reduction && row_ + i * kRowsAtOnce < columns_;
      weights_[i] = Value{};
      if (exists) weights_[i] = Stage::value(ptx::load_global(weight + i * kRowsAtOnce * column_stride_));
    }
    next_ += kConfig.block_k;
    while (next_ >= depth_) {
      next_ -= depth_;
      ++live_;
    }
  }

  // Writes them to a stage.
  __device__ __forceinline__ void put(unsigned char* stage) const {
#pragma unroll
    for (int32_t i = 0; i < kSourceRows; ++i)
      ptx::store_shared(Stage::source(stage, k_, row_ + i * kRowsAtOnce), values_[i]);
#pragma unroll
    for (int32_t i = 0; i < kColumns; ++i)
      ptx::store_shared(Stage::weight(stage, k_, row_ + i * kRowsAtOnce), weights_[i]);
  }

 private:
  using Acc = Accumulator<Element>;

  __device__ __forceinline__ int64_t row_window(int32_t i) const {
    if constexpr (Pass::kScalesSource) {
      using RowResult = typename Pass::template RowResult<Acc>;
      const auto* const result = smem_.template row_result<RowResult>(row_ + i * kRowsAtOnce);
      if (params_.scale != nullptr) return ptx::load_shared(&result->window);
    }
    return 0;
  }
  __device__ __forceinline__ Value value(Element element, int64_t window, int64_t ahead) const {
    if constexpr (Pass::kScalesSource)
      if (params_.scale != nullptr)
        return Stage::scaled(element, Pass::template scale<Acc>(params_, tile_, window, ahead));
    return Stage::value(element);
  }

  // Of few rows a thread keeps the bases in registers.
  static constexpr bool kKeepsBases = kSourceRows <= 8;
  static constexpr int32_t kBases = kKeepsBases ? kSourceRows : 1;

  __device__ __forceinline__ int64_t row_base(int32_t i) const {
    return ptx::load_shared(smem_.row_base + row_ + i * kRowsAtOnce);
  }

  const typename Pass::Params& params_;
  const GemmTile& tile_;
  const GemmSmem<kConfig, Element>& smem_;
  const int32_t depth_;
  const int32_t live_taps_;
  const int32_t k_;
  const int32_t row_;
  const int32_t columns_;  // from the tile's first to the group's last
  const int64_t column_stride_;
  const int64_t depth_stride_;
  const int64_t tap_stride_;
  const Element* source_;
  const Element* weight_;
  int64_t base_[kBases];
  int32_t live_;
  int32_t next_;
  Value values_[kSourceRows];
  Value weights_[kColumns];
};

// A thread's part of the tile: kRows neighbouring rows x one 16-byte vector of columns.
template <GemmConfig kConfig, class Element>
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
          ptx::load_shared(reinterpret_cast<const Vector*>(Stage::weight(stage, k, column_)));
#pragma unroll
      for (int32_t i = 0; i < kRows; i += kVector) {
        const Vector values =
            ptx::load_shared(reinterpret_cast<const Vector*>(Stage::source(stage, k, row_ + i)));
#pragma unroll
        for (int32_t r = 0; r < kVector; ++r)
#pragma unroll
          for (int32_t c = 0; c < kVector; ++c) sums_[i + r].value[c] += values.value[r] * weights.value[c];
      }
    }
  }

  // Leaves the sums where the epilogue expects them.
  __device__ __forceinline__ void put(const GemmSmem<kConfig, Element>& smem) const {
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
