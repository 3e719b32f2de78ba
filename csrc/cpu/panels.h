// The weight (K, taps, C / groups) in the order in which tiles read it: panels of results, and in each of
// them, segment after segment, the weights of its results step by step.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/engine.h"
#include "cpu/half.h"
#include "cpu/row_reader.h"
#include "cpu/rows.h"
#include "cpu/tile.h"

namespace maskconv::cpu {

template <typename Acc>
class Panels {
 public:
  // weight(group, segment, step, result) points to a weight, for `results` of each of `groups`; that of the
  // next result is `stride` further. `one_panel`: of all results, as depthwise products read them.
  template <typename Weight>
  Panels(const Runtime& runtime, int32_t segments, int64_t length, int32_t groups, int32_t results,
         bool one_panel, int64_t stride, const Weight& weight)
      : results_(results), segments_(segments), length_(length) {
    const TileKernels<Acc>& kernels = tile_kernels<Acc>();
    wide_ = one_panel ? results : kernels.panel;
    narrow_ = one_panel ? results : kernels.narrow_panel;
    padded_ = (results + narrow_ - 1) / narrow_ * narrow_;
    Acc* packed = packed_.get(int64_t{groups} * padded_ * segments_ * length_);
    constexpr int64_t kGrain = 1 << 14;
    const int64_t grain = kGrain / std::max<int64_t>(1, padded_ * length_) + 1;
    runtime.parallel_for(0, int64_t{groups} * segments_, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int32_t group = int32_t(i / segments_), segment = int32_t(i % segments_);
        for (int32_t first = 0, width; first < results_; first += width) {
          width = panel_width(first);
          const int32_t count = std::min(width, results_ - first);
          Acc* to = packed + offset(group, segment, first);
          for (int64_t step = 0; step < length_; ++step, to += width) {
            const auto* from = weight(group, segment, step, first);
            for (int32_t j = 0; j < count; ++j) to[j] = widen(from[j * stride]);
            std::fill(to + count, to + width, Acc(0));
          }
        }
      }
    });
  }

  int32_t padded() const { return padded_; }  // results of a group, up to whole panels

  int32_t panel_width(int32_t first) const { return results_ - first > narrow_ ? wide_ : narrow_; }

  // The panel that begins with result `first`.
  const Acc* at(int32_t group, int32_t segment, int32_t first) const {
    return packed_.data() + offset(group, segment, first);
  }

 private:
  int64_t offset(int32_t group, int32_t segment, int32_t first) const {
    return (int64_t{group} * padded_ + first) * segments_ * length_ + segment * length_ * panel_width(first);
  }

  int32_t results_, segments_;
  int64_t length_;
  int32_t wide_, narrow_, padded_;
  Buffer<Acc> packed_;
};

}  // namespace maskconv::cpu
