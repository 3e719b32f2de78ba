// Which channel of a mask an input channel reads, and what its value says.
#pragma once

#include <type_traits>

#include "device/ptx.cuh"
#include "plan/channel_mask.h"

namespace maskconv {

__device__ __forceinline__ int32_t mask_channel(const ChannelMask& mask, int32_t channel) {
  if (mask.shared()) return 0;
  if (mask.part_channels > 0) return channel / mask.part_channels;
  int32_t part = 0;
  while (channel >= mask.ends[part]) ++part;
  return part;
}

// What a value adds to a sum: hard ones count, whatever their byte; sums are already.
template <class Sum, class Value>
__device__ __forceinline__ Sum counted(Value value) {
  if constexpr (std::is_same_v<Value, uint8_t>) {
    return value != 0;
  } else {
    return value;
  }
}

}  // namespace maskconv
