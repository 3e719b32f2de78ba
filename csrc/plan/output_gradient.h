// The gradient of the accumulator, as every kernel of a backward pass reads it: scale(q) * grad where
// valid(q), else 0. No tensor holds that product.
#pragma once

#include <cstdint>

namespace maskconv {

struct OutputGradient {
  const void* grad = nullptr;  // (N, oD, oH, oW, K)
  // Both (window_batch, oD, oH, oW, window_channels). Where `valid` is 0 grad is not read; null: everywhere.
  const uint8_t* valid = nullptr;
  const void* scale = nullptr;  // in the accumulator's type, 0 where invalid; null: 1
  int32_t window_channels = 1;  // Gw: 1, or one a group
};

}  // namespace maskconv
