#include "cpu/mask.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace maskconv::cpu {
namespace {

constexpr int64_t kGrain = 1 << 13;  // positions a thread takes at a time

template <typename M>
OwnedLiveMap any_channel(const Runtime& runtime, const M* mask, int64_t batch, int64_t positions,
                         int32_t channels) {
  OwnedLiveMap map;
  map.storage.resize(batch * positions);
  if (!map.storage.empty()) {
    runtime.parallel_for(0, batch * positions, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p)
        map.storage[p] =
            std::any_of(mask + p * channels, mask + (p + 1) * channels, [](M value) { return value != 0; });
    });
  }
  map.data = map.storage.data();
  map.image_stride = batch > 1 ? positions : 0;
  return map;
}

OwnedLiveMap borrow(const uint8_t* data, int64_t batch, int64_t positions) {
  OwnedLiveMap map;
  map.data = data;
  map.image_stride = batch > 1 ? positions : 0;
  return map;
}

}  // namespace

std::vector<Segment> cut_segments(int32_t channels, int32_t groups) {
  const int32_t per_group = channels / groups;
  std::vector<Segment> segments;
  for (int32_t g = 0; g < groups; ++g) segments.push_back({g, 0, g * per_group, per_group, 0, false});
  return segments;
}

std::vector<Segment> cut_segments(const MaskView& mask, int32_t channels, int32_t groups) {
  if (mask.parts.empty()) return cut_segments(channels, groups);
  const int32_t per_group = channels / groups;
  std::vector<Segment> segments;
  for (const MaskPart& part : mask.parts) {
    const int32_t end = part.first_channel + part.channels;
    for (int32_t c = part.first_channel; c < end;) {
      const int32_t group = c / per_group;
      const int32_t count = std::min(end, (group + 1) * per_group) - c;
      Segment* previous = segments.empty() ? nullptr : &segments.back();
      // Parts of one channel each, with consecutive mask channels, are one vector operation.
      if (previous && count == 1 && previous->group == group &&
          (previous->count == 1 || previous->mask_per_channel) &&
          part.mask_channel == previous->mask_channel + previous->count) {
        previous->mask_per_channel = true;
        ++previous->count;
      } else {
        segments.push_back({group, c - group * per_group, c, count, part.mask_channel, false});
      }
      c += count;
    }
  }
  return segments;
}

OwnedLiveMap live_inputs(const Runtime& runtime, const ConvProblem& problem, DType dtype,
                         const MaskView& mask) {
  const int64_t batch = problem.mask_batch, positions = problem.input_positions();
  switch (mask.kind) {
    case MaskKind::kNone:
      return {};
    case MaskKind::kHard: {
      const auto* data = static_cast<const uint8_t*>(mask.data);
      if (mask.channels == 1) return borrow(data, batch, positions);
      return any_channel(runtime, data, batch, positions, mask.channels);
    }
    case MaskKind::kSoft:
      break;
  }
  if (dtype == DType::kFloat64)
    return any_channel(runtime, static_cast<const double*>(mask.data), batch, positions, mask.channels);
  return any_channel(runtime, static_cast<const float*>(mask.data), batch, positions, mask.channels);
}

std::vector<OwnedLiveMap> live_parts(const Runtime& runtime, const ConvProblem& problem,
                                     const MaskView& mask) {
  constexpr size_t kFewParts = 4;  // each is a product of its own
  if (mask.kind != MaskKind::kHard || mask.shared() || mask.parts.size() > kFewParts) return {};
  const int64_t positions = problem.input_positions(), all = problem.mask_batch * positions;
  std::vector<OwnedLiveMap> maps(mask.parts.size());
  for (size_t i = 0; i < maps.size(); ++i) {
    const auto* values = static_cast<const uint8_t*>(mask.data) + mask.parts[i].mask_channel;
    std::vector<uint8_t>& storage = maps[i].storage;
    storage.resize(all);
    std::atomic<bool> holes = false;
    runtime.parallel_for(0, all, kGrain, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) storage[p] = values[p * mask.channels];
      if (std::memchr(&storage[first], 0, last - first)) holes = true;
    });
    if (!holes) continue;
    maps[i].data = storage.data();
    maps[i].image_stride = problem.mask_batch > 1 ? positions : 0;
  }
  return maps;
}

OwnedLiveMap live_outputs(const Runtime& runtime, const ConvProblem& problem, int32_t window_channels,
                          const uint8_t* valid) {
  if (!valid) return {};
  const int64_t batch = problem.window_batch(), positions = problem.output_positions();
  if (window_channels == 1) return borrow(valid, batch, positions);
  return any_channel(runtime, valid, batch, positions, window_channels);
}

MaskView mask_of_gradient(const OutputGradient& grad, int32_t filters) {
  MaskView view;
  if (!grad.scale && (!grad.valid || grad.window_channels == 1)) return view;
  view.kind = grad.scale ? MaskKind::kSoft : MaskKind::kHard;
  view.data = grad.scale ? grad.scale : grad.valid;
  view.channels = grad.window_channels;
  const int32_t per_window = filters / grad.window_channels;
  for (int32_t g = 0; g < grad.window_channels; ++g) view.parts.push_back({g, g * per_window, per_window});
  return view;
}

}  // namespace maskconv::cpu
