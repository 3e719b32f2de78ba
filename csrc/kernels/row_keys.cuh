// What the rows of a pass (device/prologue.cuh) are sorted by, and their numbers: a thread a row.
// plan/row_order.h says what for.
#pragma once

#include "device/prologue.cuh"
#include "device/row_order.cuh"
#include "plan/row_key_params.h"

namespace maskconv {

template <class Pass>
__global__ void __launch_bounds__(kRowKeyThreads, kRowKeyBlocks)
    row_keys(const __grid_constant__ RowKeyParams<typename Pass::Params> params) {
  const int64_t index = int64_t{blockIdx.x} * kRowKeyThreads + threadIdx.x;
  if (index >= params.rows) return;
  const typename Pass::Row row = Pass::row(params, index);
  typename Pass::Window window(params.problem);
  TapKey taps{params.format.tap_shift};
  if (row.gathers) scan_window<Pass>(params, row, 0, window, taps);
  const bool has_sums = taps.bits != 0 && Pass::is_valid(params, window);
  // In 64 bits: there may be 32 of the taps.
  const uint64_t key = uint64_t{Pass::row_class(params.problem, row)} << params.format.tap_bits | taps.bits;
  ptx::store_global(params.keys + index, has_sums ? static_cast<uint32_t>(key) : 0u);
  ptx::store_global(params.numbers + index, static_cast<uint32_t>(index));
}

}  // namespace maskconv
