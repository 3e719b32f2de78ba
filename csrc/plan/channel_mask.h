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
  int32_t channels = 1;              // Cm; 1: shared by all channels of the input
  int32_t part_channels = 0;         // input channels of each mask channel, if all have as many; else 0, and
  int32_t ends[kMaxMaskParts] = {};  // mask channel i is that of the input channels up to this one

  constexpr bool shared() const { return channels == 1; }
  // The input channels of a mask channel of several are [part_begin, part_end).
  constexpr int32_t part_end(int32_t mask_channel) const {
    return part_channels > 0 ? (mask_channel + 1) * part_channels : ends[mask_channel];
  }
  constexpr int32_t part_begin(int32_t mask_channel) const {
    return mask_channel > 0 ? part_end(mask_channel - 1) : 0;
  }
};

inline bool equal_parts(const std::vector<int32_t>& parts) {
  bool equal = true;
  for (const int32_t channels : parts) equal = equal && channels == parts[0];
  return equal;
}

// Empty if the kernels take a mask whose channels cover so many input channels each, else why not, as the end
// of a sentence.
inline std::string why_not_parts(const std::vector<int32_t>& parts) {
  if (parts.size() <= size_t{kMaxMaskParts} || equal_parts(parts)) return {};
  return "the mask has " + std::to_string(parts.size()) + " parts; the CUDA kernels take at most " +
         std::to_string(kMaxMaskParts) + ", or equal ones";
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
  if (equal_parts(parts)) {
    mask.part_channels = parts[0];
    return mask;
  }
  for (size_t i = 0; i < parts.size(); ++i) mask.ends[i] = mask.part_begin(int32_t(i)) + parts[i];
  return mask;
}

}  // namespace maskconv
