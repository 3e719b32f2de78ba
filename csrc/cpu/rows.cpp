#include "cpu/rows.h"

#include <array>
#include <bit>
#include <cstddef>

namespace maskconv::cpu {
namespace {

// Positions of one residue class along the last axis: base + first, base + first + step, ...
struct Line {
  int64_t base, image_base;
  int64_t image;
  int32_t first, step, end;
};

// The first position of a residue class.
int32_t class_start(int32_t residue, int32_t padding, int32_t stride) {
  return int32_t((int64_t{residue} - padding % stride + stride) % stride);
}

std::vector<Line> list_lines(int64_t batch, const int32_t extent[kAxes], const int32_t stride[kAxes],
                             const int32_t padding[kAxes]) {
  std::vector<Line> lines;
  for (int32_t rd = 0; rd < stride[0]; ++rd)
    for (int32_t rh = 0; rh < stride[1]; ++rh)
      for (int32_t rw = 0; rw < stride[2]; ++rw)
        for (int64_t n = 0; n < batch; ++n)
          for (int64_t d = class_start(rd, padding[0], stride[0]); d < extent[0]; d += stride[0])
            for (int64_t h = class_start(rh, padding[1], stride[1]); h < extent[1]; h += stride[1]) {
              const int64_t in_image = (d * extent[1] + h) * extent[2];
              lines.push_back({n * extent[0] * extent[1] * extent[2] + in_image, in_image, n,
                               class_start(rw, padding[2], stride[2]), stride[2], extent[2]});
            }
  return lines;
}

// Least-significant-byte radix sort of keys with their rows; keeps the order of equal keys.
struct KeyedRow {
  uint64_t key;
  int64_t row;
};

void radix_sort(std::vector<KeyedRow>& items, std::vector<KeyedRow>& spare, int bits) {
  constexpr int kDigitBits = 8;
  spare.resize(items.size());
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    std::array<size_t, 1 << kDigitBits> place{};
    const auto digit = [&](const KeyedRow& item) { return item.key >> shift & (place.size() - 1); };
    for (const KeyedRow& item : items) ++place[digit(item)];
    size_t total = 0;
    for (size_t& p : place) {
      const size_t count = p;
      p = total;
      total += count;
    }
    for (const KeyedRow& item : items) spare[place[digit(item)]++] = item;
    items.swap(spare);
  }
}

}  // namespace

RowList list_rows(const Runtime& runtime, int64_t batch, const int32_t extent[kAxes], const LiveMap& live,
                  const int32_t stride[kAxes], const int32_t padding[kAxes]) {
  const std::vector<Line> lines = list_lines(batch, extent, stride, padding);
  if (lines.empty()) return {};
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / std::max(extent[2], 1));
  std::vector<int64_t> end(lines.size());
  runtime.parallel_for(0, int64_t(lines.size()), grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Line& line = lines[i];
      const uint8_t* alive = live.image(line.image);
      int64_t count = 0;
      for (int64_t w = line.first; w < line.end; w += line.step)
        count += !alive || alive[line.image_base + w];
      end[i] = count;
    }
  });
  for (size_t i = 1; i < end.size(); ++i) end[i] += end[i - 1];
  RowList rows(end.back());
  runtime.parallel_for(0, int64_t(lines.size()), grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Line& line = lines[i];
      const uint8_t* alive = live.image(line.image);
      int64_t next = i > 0 ? end[i - 1] : 0;
      for (int64_t w = line.first; w < line.end; w += line.step)
        if (!alive || alive[line.image_base + w]) rows[next++] = line.base + w;
    }
  });
  return rows;
}

void group_rows_by_taps(const Runtime& runtime, const TapTable& table, const LiveMap& source_live,
                        int64_t tile_rows, RowList& rows) {
  constexpr int kMaxTaps = 64;               // a key is one word
  constexpr int64_t kSegmentRows = 1 << 15;  // sorted independently: bounds scratch, keeps images nearby
  constexpr int64_t kSampled = 16;           // of so many tiles one says whether sorting pays
  constexpr double kWorthSorting = 0.8;      // of the work in the order given
  const int32_t taps = table.taps();
  if (!source_live.data || taps < 2 || taps > kMaxTaps) return;
  struct Scratch {
    std::vector<KeyedRow> items, spare;
    Buffer<int64_t> source;
  };
  const int64_t total = int64_t(rows.size());
  const int64_t segments = (total + kSegmentRows - 1) / kSegmentRows;
  for_each_block<Scratch>(runtime, segments, [&](int64_t segment, Scratch& scratch) {
    int64_t* const first = rows.data() + segment * kSegmentRows;
    const int64_t count = std::min(kSegmentRows, total - segment * kSegmentRows);
    int64_t* source = scratch.source.get(tile_rows * taps);
    const auto tile_keys = [&](int64_t begin, KeyedRow* items) {
      const int64_t n = std::min(tile_rows, count - begin);
      table.lookup(first + begin, n, source_live, source);
      for (int64_t i = 0; i < n; ++i) {
        uint64_t key = 0;
        for (int32_t t = 0; t < taps; ++t) key |= uint64_t{source[i * taps + t] >= 0} << t;
        items[i] = {key, first[begin + i]};
      }
      return n;
    };
    int64_t live_taps = 0, tile_taps = 0;
    scratch.items.resize(count);
    for (int64_t begin = 0; begin < count; begin += kSampled * tile_rows) {
      const int64_t n = tile_keys(begin, scratch.items.data());
      uint64_t any = 0;
      for (int64_t i = 0; i < n; ++i) {
        any |= scratch.items[i].key;
        live_taps += std::popcount(scratch.items[i].key);
      }
      tile_taps += std::popcount(any) * n;
    }
    if (double(live_taps) >= kWorthSorting * double(tile_taps)) return;
    for (int64_t begin = 0; begin < count; begin += tile_rows) tile_keys(begin, &scratch.items[begin]);
    radix_sort(scratch.items, scratch.spare, taps);
    for (int64_t i = 0; i < count; ++i) first[i] = scratch.items[i].row;
  });
}

int64_t choose_block_rows(int64_t rows, int64_t row_bytes, int64_t multiple, int threads) {
  constexpr int64_t kBlockBytes = 1 << 18;  // leaves room for weights in a core's second-level cache
  constexpr int64_t kMinRows = 64, kMaxRows = 1024;
  constexpr int64_t kBlocksPerThread = 32;  // so that uneven blocks still balance
  const int64_t balanced = rows / (kBlocksPerThread * std::max(threads, 1));
  const int64_t fitting = std::min(kBlockBytes / std::max<int64_t>(row_bytes, 1), balanced);
  return (std::clamp(fitting, kMinRows, kMaxRows) + multiple - 1) / multiple * multiple;
}

}  // namespace maskconv::cpu
