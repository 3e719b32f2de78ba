// Rows in another order than they lie: which row comes where, what the order is sorted by (plan/row_order.h
// says why), and where the results of a row of a tile belong.
#pragma once

#include "device/ptx.cuh"
#include "plan/gemm_params.h"

namespace maskconv {

// The row at a place of the order, of so many; -1 beyond the last. An order given to an operator cannot be
// looked at on the host, so a number that is no row's counts as beyond as well: it reaches no memory.
__device__ __forceinline__ int64_t row_at(const GemmParams& params, int64_t place, int64_t rows) {
  if (place >= rows) return -1;
  const int64_t row = params.row_order == nullptr ? place : ptx::load_global(params.row_order + place);
  return row < rows ? row : -1;
}

// The part of a row's key that its taps make.
struct TapKey {
  const int32_t shift;  // RowKeyFormat::tap_shift
  uint32_t bits = 0;

  __device__ __forceinline__ void add(int32_t tap, bool live) { bits |= uint32_t{live} << (tap >> shift); }
};

// A position and a bit, in 8 bytes. The position is < 0 for a place beyond the last row.
class RowPlace {
 public:
  RowPlace() = default;
  __device__ __forceinline__ RowPlace(int64_t position, bool valid) : packed_(2 * position + valid) {}
  __device__ __forceinline__ int64_t position() const { return packed_ >> 1; }
  __device__ __forceinline__ bool valid() const { return packed_ & 1; }

 private:
  int64_t packed_;
};

}  // namespace maskconv
