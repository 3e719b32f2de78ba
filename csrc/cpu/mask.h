// The mask as the engine reads it: a byte per position that says whether there is anything to read, and
// segments of channels that say which of it.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/taps.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {

// Channels [channel, channel + count) of the source: channels [offset, offset + count) of their group.
// They share mask channel `mask_channel`, or have one each, beginning with it.
struct Segment {
  int32_t group, offset, channel, count;
  int32_t mask_channel;
  bool mask_per_channel;
};

// `groups` equal groups of channels, cut where the mask changes.
std::vector<Segment> cut_segments(const MaskView& mask, int32_t channels, int32_t groups);
// The same of values that have no mask.
std::vector<Segment> cut_segments(int32_t channels, int32_t groups);

// The scale of the output's gradient as a soft mask of it, or, without one, where it counts as a hard mask.
// A shared `valid` alone is none: the live rows and positions are all there is to it.
MaskView mask_of_gradient(const OutputGradient& grad, int32_t filters);

// A byte map, and the storage of it where it had to be computed.
struct OwnedLiveMap : LiveMap {
  std::vector<uint8_t> storage;
};

// Input positions where any mask channel is valid.
OwnedLiveMap live_inputs(const Runtime& runtime, const ConvProblem& problem, DType dtype,
                         const MaskView& mask);
// Of each part of a hard mask that has a few; without holes in a part, nothing of that one. Else none.
std::vector<OwnedLiveMap> live_parts(const Runtime& runtime, const ConvProblem& problem,
                                     const MaskView& mask);
// Output positions where any window channel is valid.
OwnedLiveMap live_outputs(const Runtime& runtime, const ConvProblem& problem, int32_t window_channels,
                          const uint8_t* valid);

// Multiplies or selects, in place, the channels of a segment at one position of the batch. The position is
// live.
template <typename Acc>
class SegmentMask {
 public:
  SegmentMask(const MaskView& mask, int64_t mask_batch, int64_t positions)
      : mask_(mask), wraps_(mask_batch == 1 ? positions : 0), shared_(mask.channels == 1) {}

  // Nothing to do wherever a live position is read whole and as it is.
  bool trivial() const { return mask_.kind == MaskKind::kNone || (shared_ && mask_.kind == MaskKind::kHard); }

  void apply(Acc* values, const Segment& segment, int64_t position) const {
    if (trivial()) return;
    const int64_t at = (wraps_ ? position % wraps_ : position) * mask_.channels + segment.mask_channel;
    if (mask_.kind == MaskKind::kHard) {
      apply_at(values, static_cast<const uint8_t*>(mask_.data) + at, segment);
    } else {
      apply_at(values, static_cast<const Acc*>(mask_.data) + at, segment);
    }
  }

 private:
  template <typename M>
  void apply_at(Acc* values, const M* m, const Segment& segment) const {
    if (segment.mask_per_channel) {
      apply_mask(values, m, segment.count);
    } else if (m[0] == 0) {
      for (int32_t i = 0; i < segment.count; ++i) values[i] = 0;
    } else if (std::is_same_v<M, Acc>) {
      scale_and_add(values, Acc(m[0]), nullptr, segment.count);
    }
  }

  const MaskView& mask_;
  int64_t wraps_;  // positions of one image where the batch shares the mask, else 0
  bool shared_;
};

}  // namespace maskconv::cpu
