// Masks of any kind, and their windows, as tests write them.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "emulation/bindings.h"
#include "plan/channel_mask.h"
#include "plan/windows.h"

namespace maskconv::emulation {

// {"data": array or None, "soft": bool, "parts": input channels of each mask channel, [] if it is shared}.
template <class Acc>
ChannelMask to_channel_mask(GlobalMemory& memory, const pybind11::dict& from) {
  const bool soft = from["soft"].cast<bool>();
  const void* data = soft ? static_cast<const void*>(readable<Acc>(memory, from["data"], "mask"))
                          : readable<uint8_t>(memory, from["data"], "mask");
  return make_channel_mask(data, soft, from["parts"].cast<std::vector<int32_t>>());
}

// {"sum": array, "valid": array, "channels": int, "size": int, "soft": bool}.
template <class Acc>
Windows to_windows(GlobalMemory& memory, const pybind11::dict& from) {
  Windows windows;
  windows.soft = from["soft"].cast<bool>();
  windows.sum = windows.soft ? static_cast<const void*>(readable<Acc>(memory, from["sum"], "window_sum"))
                             : readable<int32_t>(memory, from["sum"], "window_sum");
  windows.valid = readable<uint8_t>(memory, from["valid"], "valid");
  windows.channels = from["channels"].cast<int32_t>();
  windows.size = from["size"].cast<int32_t>();
  return windows;
}

}  // namespace maskconv::emulation
