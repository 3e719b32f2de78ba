// What a launch of row_keys is given: the numbers that plan/row_order.h has rows sorted by.
#pragma once

#include <cstdint>

namespace maskconv {

// Rows are sorted by a 32-bit key: their tap bitset, or where that is longer, a coarser one, a bit of which
// stands for 2, 4, 8 ... neighbouring taps. So a key is 0 only where no tap is live, equal bitsets have equal
// keys and similar ones similar keys, which a hash of the bitset would not give: few windows of 121 taps are
// equal, and what a tile can skip is the part of the window that is empty in all its rows. Above the taps
// stands the row's class (plan/grad_input_params.h), for rows of different classes have no tap in common.
struct RowKeyFormat {
  int32_t tap_shift = 0;  // tap t is counted by bit t >> tap_shift
  int32_t tap_bits = 0;
  int32_t bits = 0;  // of the whole key
};

constexpr int32_t kRowKeyThreads = 256;
constexpr int32_t kRowKeyBlocks = 4;  // on a multiprocessor; ptxas would make room for more, and spill

// What a launch of row_keys is given; PassParams are those of the pass whose rows are sorted.
template <class PassParams>
struct RowKeyParams : PassParams {
  int64_t rows = 0;
  RowKeyFormat format;
  uint32_t* keys = nullptr;     // (rows): 0 where a row's sums are not used, or there is nothing to sum
  uint32_t* numbers = nullptr;  // (rows): the rows as they lie, to be sorted with the keys

  constexpr int64_t blocks() const { return (rows + kRowKeyThreads - 1) / kRowKeyThreads; }
};

}  // namespace maskconv
