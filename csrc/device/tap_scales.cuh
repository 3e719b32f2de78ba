// The scale of the source in the mma kernel. It belongs to a row and a tap, so that the sums of a row have no
// scale in common; and factors multiplied by it would be rounded once more, and overflow fp16. So the sums of
// a row are kept in units of the scale of the tap that is being added to them: where the next tap is entered
// they are multiplied by the last scale over the next, in fp32, and after the last tap by its scale.
#pragma once

#include "device/prologue.cuh"

namespace maskconv {

// Loads run ahead of the arithmetic, and so does this: `fetch` as the loads of a step are issued, `put`
// before the next step's, `apply` before the products of that step. Of each tap the first step does
// something. A thread looks after the rows that it scanned in the prologue.
template <class Pass, GemmConfig kConfig, class Element>
class TapScales {
 public:
  __device__ __forceinline__ TapScales(const typename Pass::Params& params, const GemmTile& tile,
                                       const GemmSmem<kConfig, Element>& smem, int32_t steps_of_tap)
      : params_(params), tile_(tile), smem_(smem), steps_of_tap_(steps_of_tap) {
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i) unit_[i] = 1;
  }

  __device__ __forceinline__ void fetch() {
    if (!scaled()) return;
    if (fetched_ == 0) {
      const int32_t tap = ptx::load_shared(smem_.live_tap + fetched_taps_);
      const int64_t ahead = ptx::load_shared(smem_.live_delta + fetched_taps_);
#pragma unroll
      for (int32_t i = 0; i < kRows; ++i) {
        next_[i] = 0;
        if (!exists(i)) continue;
        const uint32_t word = ptx::load_shared(smem_.tap_word(row(i), tap));
        if (word >> (tap % kTapsPerWord) & 1)
          next_[i] = Pass::template scale<float>(params_, tile_, window(i), ahead);
      }
      ++fetched_taps_;
    }
    if (++fetched_ == steps_of_tap_) fetched_ = 0;
  }

  __device__ __forceinline__ void put() {
    if (put_taps_ == fetched_taps_) return;  // as always without a scale
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i) {
      if (!exists(i)) continue;
      const bool adds = next_[i] != 0;  // else the tap has zeros for the row, in any unit
      ptx::store_shared(factors(put_taps_) + row(i), adds ? unit_[i] / next_[i] : 1);
      if (adds) unit_[i] = next_[i];
    }
    ++put_taps_;
  }

  template <class Sums>
  __device__ __forceinline__ void apply(Sums& sums) {
    if (!scaled()) return;
    if (applied_ == 0) sums.multiply_rows(factors(applied_taps_++));
    if (++applied_ == steps_of_tap_) applied_ = 0;
  }

  // After the last products: the units, as factors of one tap more, and a barrier before they are applied.
  __device__ __forceinline__ void put_units() const {
    if (!scaled()) return;
#pragma unroll
    for (int32_t i = 0; i < kRows; ++i)
      if (exists(i)) ptx::store_shared(factors(put_taps_) + row(i), unit_[i]);
  }
  template <class Sums>
  __device__ __forceinline__ void apply_units(Sums& sums) const {
    if (scaled()) sums.multiply_rows(factors(put_taps_));
  }

 private:
  // A slot is written again when all threads are a step beyond the one in which they read it.
  static constexpr int32_t kSlots = tap_factor_slots(kConfig);
  static constexpr int32_t kRows = (kConfig.block_m + kConfig.threads() - 1) / kConfig.threads();

  __device__ __forceinline__ bool scaled() const { return params_.scale != nullptr; }
  static __device__ __forceinline__ int32_t row(int32_t i) {
    return static_cast<int32_t>(threadIdx.x) + i * kConfig.threads();
  }
  static __device__ __forceinline__ bool exists(int32_t i) {
    return kConfig.block_m % kConfig.threads() == 0 || row(i) < kConfig.block_m;
  }
  __device__ __forceinline__ int64_t window(int32_t i) const {
    using RowResult = typename Pass::template RowResult<float>;
    return ptx::load_shared(smem_.template row_result<RowResult>(row(i)))
        .window;  // whole: banks are met once
  }
  __device__ __forceinline__ float* factors(int32_t tap) const {
    return smem_.tap_factors + tap % kSlots * kConfig.block_m;
  }

  const typename Pass::Params& params_;
  const GemmTile& tile_;
  const GemmSmem<kConfig, Element>& smem_;
  const int32_t steps_of_tap_;
  float unit_[kRows];
  float next_[kRows] = {};
  int32_t fetched_ = 0, fetched_taps_ = 0;  // steps of the current tap, and taps begun
  int32_t put_taps_ = 0;
  int32_t applied_ = 0, applied_taps_ = 0;
};

// Of a pass whose source has no scale.
struct NoTapScales {
  template <class... Arguments>
  __device__ __forceinline__ explicit NoTapScales(const Arguments&...) {}
  __device__ __forceinline__ void fetch() {}
  __device__ __forceinline__ void put() {}
  __device__ __forceinline__ void put_units() const {}
  template <class Sums>
  __device__ __forceinline__ void apply(Sums&) {}
  template <class Sums>
  __device__ __forceinline__ void apply_units(Sums&) const {}
};

}  // namespace maskconv
