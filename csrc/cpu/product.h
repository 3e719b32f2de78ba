// The product of a block of rows with the weight: what forward and input gradient have in common. Only taps
// live for some row of the block are gathered and multiplied.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/gather.h"
#include "cpu/rows.h"
#include "cpu/taps.h"

namespace maskconv::cpu {

template <typename Acc>
const Runtime::Gemm<Acc>& gemm_of(const Runtime& runtime) {
  if constexpr (std::is_same_v<Acc, double>) {
    return runtime.gemm_f64;
  } else {
    return runtime.gemm_f32;
  }
}

// The second operand of a group's GEMM, (taps * source channels, results) of the group or, transposed, the
// other way round. Depthwise: (taps, channels), and no GEMM.
template <typename Acc>
struct Operand {
  const Acc* data;
  int64_t group_stride, tap_stride, ld;
  bool transposed;
};

// Where the channels that one row reads at the given (live) taps lie: in the source, or gathered. One group.
template <typename T, typename Acc>
const Acc* const* channel_rows(const Source<T>& source, const int64_t* positions, int32_t table_taps,
                               const std::vector<int32_t>& taps, Buffer<Acc>& gathered,
                               std::vector<const Acc*>& pointers) {
  pointers.clear();
  if constexpr (std::is_same_v<T, Acc>) {
    if (source.whole()) {
      for (int32_t t : taps) pointers.push_back(source.data + positions[t] * source.channels);
      return pointers.data();
    }
  }
  Acc* to = gathered.get(int64_t{table_taps} * source.channels);
  source.gather(positions, table_taps, nullptr, 1, taps.data(), int64_t(taps.size()), to);
  for (size_t j = 0; j < taps.size(); ++j) pointers.push_back(to + int64_t(j) * source.channels);
  return pointers.data();
}

template <typename T>
struct BlockProduct {
  using Acc = typename Compute<T>::type;

  struct Scratch {
    Buffer<int64_t> positions;
    Buffer<Acc> gathered, product;
    std::vector<int32_t> taps;
    std::vector<const Acc*> values, weights;
  };

  const Runtime& runtime;
  const TapTable& table;
  LiveMap live;
  Source<T> source;
  Operand<Acc> weight;
  int32_t results;  // of all groups together
  bool depthwise;

  // What a row takes in scratch; depthwise gathers one row at a time.
  int64_t row_bytes() const {
    const int64_t gathered = depthwise ? 0 : int64_t{table.taps()} * source.channels;
    return (gathered + results) * int64_t(sizeof(Acc));
  }

  // Whether reordering rows can save more than it costs.
  bool worth_grouping() const {
    constexpr int64_t kMinTapWork = 256;  // multiplications of a row at a tap
    return live.data && !depthwise && int64_t{source.channels_per_group()} * results >= kMinTapWork;
  }

  // (count, results) in scratch.product.
  Acc* operator()(const int64_t* rows, int64_t count, Scratch& scratch) const {
    const int32_t taps = table.taps();
    int64_t* positions = scratch.positions.get(count * taps);
    Acc* product = scratch.product.get(count * results);
    table.lookup(rows, count, live, positions);
    if (depthwise) {
      multiply_channels(positions, count, scratch, product);
    } else {
      choose_taps(positions, count, scratch.taps);
      multiply(positions, count, scratch, product);
    }
    return product;
  }

 private:
  // The taps to visit, ascending. Short gaps are filled up where the zeros cost less than another call.
  void choose_taps(const int64_t* positions, int64_t count, std::vector<int32_t>& chosen) const {
    constexpr int64_t kCallMultiplications = 200'000;  // what a GEMM does in the time of a call's overhead
    const int32_t taps = table.taps();
    const int64_t tap_work = count * source.channels_per_group() * (results / source.groups);
    const int64_t short_gap = kCallMultiplications / std::max<int64_t>(tap_work, 1);
    chosen.clear();
    for (int32_t t = 0; t < taps; ++t) {
      int64_t i = 0;
      while (i < count && positions[i * taps + t] < 0) ++i;
      if (i == count) continue;
      if (!chosen.empty() && t - chosen.back() - 1 <= short_gap)
        while (chosen.back() + 1 < t) chosen.push_back(chosen.back() + 1);
      chosen.push_back(t);
    }
  }

  void multiply(const int64_t* positions, int64_t count, Scratch& scratch, Acc* product) const {
    const std::vector<int32_t>& taps = scratch.taps;
    const int64_t tap_count = int64_t(taps.size());
    if (tap_count == 0) {
      std::fill_n(product, count * results, Acc(0));
      return;
    }
    const int64_t per_group = source.channels_per_group(), group_results = results / source.groups;
    const Acc* gathered = in_place(positions, count, taps);
    if (!gathered) {
      Acc* to = scratch.gathered.get(count * tap_count * source.channels);
      source.gather(positions, table.taps(), nullptr, count, taps.data(), tap_count, to);
      gathered = to;
    }
    const int64_t ld = tap_count * per_group;
    for (int32_t g = 0; g < source.groups; ++g) {
      for (int64_t first = 0, end; first < tap_count; first = end) {
        for (end = first + 1; end < tap_count && taps[end] == taps[end - 1] + 1;) ++end;
        gemm_of<Acc>(runtime)(
            count, group_results, (end - first) * per_group, gathered + g * count * ld + first * per_group,
            ld, false, weight.data + g * weight.group_stride + taps[first] * weight.tap_stride, weight.ld,
            weight.transposed, Acc(first > 0), product + g * group_results, results);
      }
    }
  }

  // The operand where it lies, if it lies there as gathering would leave it: a 1x1 kernel without holes.
  const Acc* in_place(const int64_t* positions, int64_t count, const std::vector<int32_t>& taps) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (table.taps() != 1 || !source.whole() || taps.size() != 1) return nullptr;
      for (int64_t i = 0; i < count; ++i)
        if (positions[i] != positions[0] + i || positions[i] < 0) return nullptr;
      return source.data + positions[0] * source.channels;
    } else {
      return nullptr;
    }
  }

  void multiply_few_channels(const int64_t* positions, Acc* product) const {
    const int32_t taps = table.taps(), channels = source.channels;
    for (int32_t c = 0; c < channels; ++c) {
      const T* values = source.data + c;
      const Acc* weights = weight.data + c;
      Acc sum = 0;
      for (int32_t t = 0; t < taps; ++t)
        if (positions[t] >= 0) sum += widen(values[positions[t] * channels]) * weights[t * weight.tap_stride];
      product[c] = sum;
    }
  }

  // Depthwise: a GEMM would have one row and one column.
  void multiply_channels(const int64_t* positions, int64_t count, Scratch& scratch, Acc* product) const {
    constexpr int32_t kFewChannels = 4;  // no vector's worth
    const int32_t taps = table.taps(), channels = source.channels;
    const bool few = channels <= kFewChannels && source.whole();
    for (int64_t i = 0; i < count; ++i, positions += taps, product += channels) {
      if (few) {
        multiply_few_channels(positions, product);
        continue;
      }
      scratch.taps.clear();
      scratch.weights.clear();
      for (int32_t t = 0; t < taps; ++t) {
        if (positions[t] < 0) continue;
        scratch.taps.push_back(t);
        scratch.weights.push_back(weight.data + t * weight.tap_stride);
      }
      const int64_t terms = int64_t(scratch.taps.size());
      const Acc* const* values =
          channel_rows(source, positions, taps, scratch.taps, scratch.gathered, scratch.values);
      dot_channels(product, values, scratch.weights.data(), terms, channels);
    }
  }
};

}  // namespace maskconv::cpu
