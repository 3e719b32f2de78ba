// Window sums and valid(q) that were counted before.
#pragma once

#include <cstdint>

namespace maskconv {

// Both arrays are (window_batch, oD, oH, oW, channels).
struct Windows {
  const void* sum = nullptr;       // int32, or in the accumulator's type if soft
  const uint8_t* valid = nullptr;  // non-zero = valid
  int32_t channels = 1;            // Gw: 1, or one a group
  int32_t size = 0;                // W
  bool soft = false;
};

}  // namespace maskconv
