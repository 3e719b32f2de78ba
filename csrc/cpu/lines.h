// The lines of a product's source: where they lie, or as copies in the compute type with zeros in the holes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/mask.h"
#include "cpu/taps.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {

template <typename T>
struct Source {
  using Acc = typename Compute<T>::type;

  Source(const T* data, int32_t channels, const TapTable& table, int64_t batch, const LiveMap& live,
         std::vector<Segment> segments, const SegmentMask<Acc>& mask)
      : data(data),
        channels(channels),
        width(table.sources(2)),
        lines(int64_t{table.sources(0)} * table.sources(1)),
        batch(batch),
        live(live),
        segments(std::move(segments)),
        mask(mask) {}

  const T* data;     // (batch, lines, width, channels)
  int32_t channels;  // of all groups together
  int32_t width;
  int64_t lines;  // of an image
  int64_t batch;
  LiveMap live;                   // what may be read: all of it if null
  std::vector<Segment> segments;  // of all channels, as of one group
  SegmentMask<Acc> mask;

  // Whether a live position is read as it lies.
  bool direct() const { return std::is_same_v<T, Acc> && mask.trivial(); }

  const uint8_t* live_line(int64_t line) const {
    const uint8_t* alive = live.image(line / lines);
    return alive ? alive + line % lines * width : nullptr;
  }

  void copy(int64_t position, int64_t count, Acc* to) const {
    widen(data + position * channels, to, count * channels);
    if (mask.trivial()) return;
    for (int64_t i = 0; i < count; ++i, to += channels)
      for (const Segment& segment : segments) mask.apply(to + segment.channel, segment, position + i);
  }
};

// The input under its mask; `live` is what live_inputs gave.
template <typename T>
Source<T> input_source(const ConvProblem& problem, const TapTable& table, const MaskView& mask,
                       const LiveMap& live, const T* x) {
  return {x,
          problem.channels,
          table,
          problem.batch,
          live,
          cut_segments(mask, problem.channels, 1),
          SegmentMask<typename Compute<T>::type>(mask, problem.mask_batch, problem.input_positions())};
}

// What copies of lines contain.
struct LineExtent {
  int32_t before = 0, after = 0;  // zeros beside the line
  int32_t edge = 0;               // only so many first and last positions are read; 0: all
};

// A worker's copies, made when first asked for. They stay for its next blocks until their place is needed.
template <typename T>
class LineCopies {
 public:
  using Acc = typename Compute<T>::type;

  void begin_block() { ++block_; }

  // Where position 0 of a line of the batch lies in its copy.
  const Acc* get(const Source<T>& source, const LineExtent& extent, int64_t line) {
    if (place_.empty()) place_.assign(source.batch * source.lines, kNowhere);
    if (place_[line] == kNowhere) {
      const int32_t place = free_place(source, extent);
      place_[line] = place;
      copies_[place].line = line;
      fill(source, extent, line, copies_[place].values.get());
    }
    Copy& copy = copies_[place_[line]];
    copy.block = block_;
    return copy.values.get() + int64_t{extent.before} * source.channels;
  }

 private:
  static constexpr int32_t kNowhere = -1;

  struct Copy {
    std::unique_ptr<Acc[]> values;
    int64_t line;
    int64_t block;  // that used it last
  };

  // Of a copy that neither this block nor the one before has used, or a new one: rows follow each other, and
  // so do what they read.
  int32_t free_place(const Source<T>& source, const LineExtent& extent) {
    for (size_t tried = 0; tried < copies_.size(); ++tried) {
      next_ = (next_ + 1) % copies_.size();
      if (copies_[next_].block >= block_ - 1) continue;
      place_[copies_[next_].line] = kNowhere;
      return int32_t(next_);
    }
    const int64_t size = (int64_t{source.width} + extent.before + extent.after) * source.channels;
    copies_.push_back({std::make_unique_for_overwrite<Acc[]>(size), 0, 0});
    return int32_t(copies_.size()) - 1;
  }

  static void fill(const Source<T>& source, const LineExtent& extent, int64_t line, Acc* to) {
    const int64_t channels = source.channels;
    std::fill_n(to, extent.before * channels, Acc(0));
    to += extent.before * channels;
    std::fill_n(to + source.width * channels, extent.after * channels, Acc(0));
    if (extent.edge > 0 && 2 * extent.edge < source.width) {
      fill_range(source, line, 0, extent.edge, to);
      fill_range(source, line, source.width - extent.edge, source.width, to);
    } else {
      fill_range(source, line, 0, source.width, to);
    }
  }

  static void fill_range(const Source<T>& source, int64_t line, int64_t first, int64_t end, Acc* to) {
    const int64_t channels = source.channels;
    const uint8_t* alive = source.live_line(line);
    for (int64_t last; first < end; first = last) {
      const bool reads = !alive || alive[first];
      last = first + 1;
      while (last < end && (!alive || (alive[last] != 0) == reads)) ++last;
      if (reads) {
        source.copy(line * source.width + first, last - first, to + first * channels);
      } else {
        std::fill_n(to + first * channels, (last - first) * channels, Acc(0));
      }
    }
  }

  std::vector<Copy> copies_;
  std::vector<int32_t> place_;  // of each line of the batch
  size_t next_ = 0;
  int64_t block_ = 1;
};

}  // namespace maskconv::cpu
