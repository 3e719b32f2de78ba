// A mask of any kind as plain data: hard or soft, shared by all channels, one a channel, or one for each part
// of them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace maskconv {

// Parts travel with the parameters of a kernel, which have little room.
constexpr int32_t kMaxMaskParts = 64;

struct ChannelMask {
  // (mask_batch, D, H, W, channels): uint8, non-zero = valid, or in the accumulator's type if soft; null:
  // everything is valid.
  const void* data = nullptr;
  bool soft = false;
  int32_t channels = 1;                  // Cm; 1: shared by all channels of the input
  bool has_parts = false;                // else mask channel i, of several, is that of input channel i
  int32_t part_end[kMaxMaskParts] = {};  // mask channel i is that of the input channels up to this one

  constexpr bool shared() const { return channels == 1; }
};

// Empty if the kernels take a mask whose channels cover so many input channels each, else why not, as the end
// of a sentence.
inline std::string why_not_parts(const std::vector<int32_t>& parts) {
  bool single = true;
  for (const int32_t channels : parts) single = single && channels == 1;
  if (single || parts.size() <= size_t{kMaxMaskParts}) return {};
  return "the mask has " + std::to_string(parts.size()) + " parts; the CUDA kernels take at most " +
         std::to_string(kMaxMaskParts) + ", or one a channel";
}

// `parts`: how many input channels each mask channel covers; with one, or none, the mask is shared.
inline ChannelMask make_channel_mask(const void* data, bool soft, const std::vector<int32_t>& parts) {
  const std::string why_not = why_not_parts(parts);
  if (!why_not.empty()) throw std::invalid_argument(why_not);
  ChannelMask mask;
  mask.data = data;
  mask.soft = soft;
  if (parts.size() <= 1) return mask;
  mask.channels = static_cast<int32_t>(parts.size());
  int32_t end = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    mask.has_parts = mask.has_parts || parts[i] != 1;
    end += parts[i];
    if (i < size_t{kMaxMaskParts}) mask.part_end[i] = end;
  }
  return mask;
}

}  // namespace maskconv
