// Where the rows of a tile find what they read: a pointer for each row and segment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/lines.h"
#include "cpu/rows.h"
#include "cpu/taps.h"

namespace maskconv::cpu {

// A segment is what lies together of all that a row reads of one group: the channels of a tap, or, where
// these are few or each is multiplied by itself, those of all taps of a line of the kernel.
struct SegmentLayout {
  int32_t segments;
  int32_t taps;      // of a segment
  int32_t channels;  // of a tap
  bool descending;   // the taps of a segment lie in the source in falling order

  int64_t length() const { return int64_t{taps} * channels; }
  bool by_lines() const { return taps > 1; }

  // By taps, or by lines where that is possible and the channels of a tap are few.
  static SegmentLayout choose(const TapTable& table, int32_t channels, int32_t groups, bool depthwise) {
    constexpr int32_t kFewChannels = 16;  // up to these, a tap is over before its pointers are loaded
    const int32_t across = table.kernel(kAxes - 1);
    const bool few = groups == 1 && channels <= kFewChannels;
    if ((depthwise || few) && across > 1 && table.step() * table.step() == 1)
      return {table.taps() / across, across, channels, table.step() < 0};
    return each_tap(table, channels);
  }

  static SegmentLayout each_tap(const TapTable& table, int32_t channels) {
    return {table.taps(), 1, channels, false};
  }
};

template <typename T>
class RowReader {
 public:
  using Acc = typename Compute<T>::type;

  struct Scratch {
    LineCopies<T> lines;
    // Of the line of rows that was pointed last: the lines that it reads, and where they lie; -1 outside of
    // the image.
    int64_t line_of_rows = -1;
    std::vector<int64_t> lines_read;
    std::vector<const Acc*> bases;

    void begin_block() {
      lines.begin_block();
      line_of_rows = -1;
    }
  };

  RowReader(const Runtime& runtime, const TapTable& table, const Source<T>& source,
            const SegmentLayout& layout)
      : table_(table), source_(source), layout_(layout), copies_(!source.direct()) {
    zeros_.assign(std::max<int64_t>(layout.length(), source.channels), Acc(0));
    if (layout_.by_lines()) {
      const bool whole = copies_ || source.live.data;
      copies_ = whole;
      extent_ = {std::max(-table.low(0), 0), std::max(table.last_high() - source.width, 0),
                 whole ? 0 : table.span()};
    } else {
      count_live_runs(runtime);
    }
  }

  const Acc* zeros() const { return zeros_.data(); }

  // to[segment * tile_rows + i] is where rows[i] reads a segment. Rows of a tile beyond `count` read zeros.
  void point(const int64_t* rows, int64_t count, int64_t tile_rows, Scratch& scratch, const Acc** to) const {
    for (int64_t first = 0, n; first < count; first += n) {
      const RowPlace place = table_.locate(rows[first]);
      const int64_t most = std::min<int64_t>(count - first, table_.rows(2) - place.at[2]);
      for (n = 1; n < most && rows[first + n] == rows[first] + n;) ++n;
      point_run(place, n, tile_rows, scratch, to + first);
    }
    if (count == tile_rows) return;
    for (int32_t s = 0; s < layout_.segments; ++s)
      std::fill(to + s * tile_rows + count, to + (s + 1) * tile_rows, zeros());
  }

 private:
  // `count` rows that follow each other on a line.
  void point_run(const RowPlace& first, int64_t count, int64_t tile_rows, Scratch& scratch,
                 const Acc** to) const {
    const int32_t across = layout_.by_lines() ? 1 : table_.kernel(2);  // segments of a line of the kernel
    const int64_t line_of_rows = (first.image * table_.rows(0) + first.at[0]) * table_.rows(1) + first.at[1];
    if (line_of_rows != scratch.line_of_rows) {
      scratch.line_of_rows = line_of_rows;
      find_lines(first, scratch);
    }
    const int32_t lines = table_.kernel(0) * table_.kernel(1);
    for (int32_t l = 0; l < lines; ++l, to += across * tile_rows) {
      const int64_t line = scratch.lines_read[l];
      if (line < 0) {
        for (int32_t s = 0; s < across; ++s) std::fill_n(to + s * tile_rows, count, zeros());
      } else if (layout_.by_lines()) {
        point_lines(line, scratch.bases[l], first.at[2], count, scratch, to);
      } else {
        point_taps(line, scratch.bases[l], first.at[2], count, tile_rows, to);
      }
    }
  }

  void find_lines(const RowPlace& row, Scratch& scratch) const {
    scratch.lines_read.clear();
    scratch.bases.clear();
    for (int32_t td = 0; td < table_.kernel(0); ++td)
      for (int32_t th = 0; th < table_.kernel(1); ++th) {
        const int32_t d = table_.source(0, row.at[0], td), h = table_.source(1, row.at[1], th);
        const bool inside = d >= 0 && h >= 0;
        const int64_t line = inside ? row.image * source_.lines + int64_t{d} * table_.sources(1) + h : -1;
        scratch.lines_read.push_back(line);
        scratch.bases.push_back(!inside   ? nullptr
                                : copies_ ? scratch.lines.get(source_, extent_, line)
                                          : in_place(line));
      }
  }

  const Acc* in_place(int64_t line) const {
    if constexpr (std::is_same_v<T, Acc>) {
      return source_.data + line * source_.width * source_.channels;
    } else {
      return nullptr;
    }
  }

  bool inside(int32_t low) const { return low >= 0 && low + table_.span() <= source_.width; }

  void point_lines(int64_t line, const Acc* values, int32_t w, int64_t count, Scratch& scratch,
                   const Acc** to) const {
    const int64_t channels = source_.channels, step = table_.row_step() * channels;
    const int32_t low = table_.low(w), last = table_.low(w + int32_t(count) - 1);
    if (!copies_ && !(inside(low) && inside(last)))
      return point_edge(line, scratch.lines.get(source_, extent_, line), w, count, to);
    values += low * channels;
    for (int64_t i = 0; i < count; ++i, values += step) to[i] = values;
  }

  // Rows of which some read beyond the line.
  void point_edge(int64_t line, const Acc* copy, int32_t w, int64_t count, const Acc** to) const {
    for (int64_t i = 0; i < count; ++i) {
      const int32_t low = table_.low(w + int32_t(i));
      to[i] = (inside(low) ? in_place(line) : copy) + int64_t{low} * source_.channels;
    }
  }

  void point_taps(int64_t line, const Acc* values, int32_t w, int64_t count, int64_t tile_rows,
                  const Acc** to) const {
    const int32_t across = table_.kernel(2), span = table_.span();
    const int64_t channels = source_.channels, step = table_.step() * channels;
    const uint8_t* run = run_line(line);
    for (int64_t i = 0; i < count; ++i) {
      const int32_t low = table_.low(w + int32_t(i));
      if (step != 0 && inside(low) && (!run || run[low] >= span)) {
        const Acc* from = values + (step > 0 ? low : low + span - 1) * channels;
        for (int32_t s = 0; s < across; ++s, from += step) to[s * tile_rows + i] = from;
        continue;
      }
      for (int32_t s = 0; s < across; ++s) {
        const int32_t position = table_.source(2, w + int32_t(i), s);
        const bool reads = position >= 0 && (!run || run[position] > 0);
        to[s * tile_rows + i] = reads ? values + position * channels : zeros();
      }
    }
  }

  // How many live positions follow each other from each on, itself included, as far as a byte counts: whether
  // all that a row reads of a line is live is one comparison then.
  void count_live_runs(const Runtime& runtime) {
    if (!source_.live.data) return;
    constexpr int64_t kGrain = 1 << 14;
    constexpr int kMost = 255;
    const int64_t images = source_.live.image_stride > 0 ? source_.batch : 1;
    const int64_t width = source_.width;
    runs_.get(images * source_.lines * width);
    uint8_t* runs = runs_.data();
    runtime.parallel_for(0, images * source_.lines, kGrain / std::max<int64_t>(width, 1) + 1,
                         [&](int64_t begin, int64_t end) {
                           for (int64_t line = begin; line < end; ++line) {
                             const uint8_t* alive = source_.live_line(line);
                             int run = 0;
                             for (int64_t w = width; w-- > 0;) {
                               run = alive[w] ? std::min(run + 1, kMost) : 0;
                               runs[line * width + w] = uint8_t(run);
                             }
                           }
                         });
  }

  const uint8_t* run_line(int64_t line) const {
    if (!runs_.data()) return nullptr;
    const int64_t of_image = source_.live.image_stride > 0 ? line : line % source_.lines;
    return runs_.data() + of_image * source_.width;
  }

  const TapTable& table_;
  const Source<T>& source_;
  SegmentLayout layout_;
  bool copies_;
  LineExtent extent_;
  std::vector<Acc> zeros_;
  Buffer<uint8_t> runs_;
};

}  // namespace maskconv::cpu
