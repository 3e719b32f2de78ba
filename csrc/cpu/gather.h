// Collects what a block of rows reads at some taps into a dense operand of the compute type, with zeros in
// the holes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/mask.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {

template <typename T>
struct Source {
  using Acc = typename Compute<T>::type;

  const T* data;     // (positions of the batch, channels)
  int32_t channels;  // of all groups together
  int32_t groups;
  std::vector<Segment> segments;
  SegmentMask<Acc> mask;

  int32_t channels_per_group() const { return channels / groups; }
  bool whole() const { return segments.size() == 1 && mask.trivial(); }

  // to[g][i][j] = the channels of group g that row i reads at taps[j]; positions as TapTable::lookup left
  // them, of the rows given by index (all `count` rows if null).
  void gather(const int64_t* positions, int32_t table_taps, const int32_t* index, int64_t count,
              const int32_t* taps, int64_t tap_count, Acc* to) const {
    const bool one_piece = whole();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t* row = positions + (index ? index[i] : i) * table_taps;
      if (one_piece) {
        gather_row(row, taps, tap_count, to + i * tap_count * channels);
      } else {
        gather_segments(row, i, count, taps, tap_count, to);
      }
    }
  }

 private:
  // Neighbours in the source that are neighbours in the result move as one piece: it counts with few
  // channels.
  void gather_row(const int64_t* row, const int32_t* taps, int64_t tap_count, Acc* to) const {
    for (int64_t j = 0, end; j < tap_count; j = end) {
      const int64_t position = row[taps[j]];
      end = j + 1;
      if (position < 0) {
        while (end < tap_count && row[taps[end]] < 0) ++end;
        std::fill_n(to + j * channels, (end - j) * channels, Acc(0));
      } else {
        while (end < tap_count && row[taps[end]] == position + end - j) ++end;
        widen(data + position * channels, to + j * channels, (end - j) * channels);
      }
    }
  }

  void gather_segments(const int64_t* row, int64_t i, int64_t count, const int32_t* taps, int64_t tap_count,
                       Acc* to) const {
    const int64_t per_group = channels_per_group();
    for (int64_t j = 0; j < tap_count; ++j) {
      const int64_t position = row[taps[j]];
      for (const Segment& segment : segments) {
        Acc* values = to + ((segment.group * count + i) * tap_count + j) * per_group + segment.offset;
        if (position < 0) {
          std::fill_n(values, segment.count, Acc(0));
        } else {
          widen(data + position * channels + segment.channel, values, segment.count);
          mask.apply(values, segment, position);
        }
      }
    }
  }
};

}  // namespace maskconv::cpu
