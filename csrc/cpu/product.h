// The product of a block of rows with the weight: what forward and input gradient have in common. Only
// segments that some row of a tile reads are multiplied.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cpu/panels.h"
#include "cpu/row_reader.h"
#include "cpu/store.h"
#include "cpu/tile.h"

namespace maskconv::cpu {

// What is multiplied: the channels of a source from `first_channel` on, and their weights. Sources of which
// parts have masks of their own come as several factors.
template <typename T>
struct Factor {
  Factor(const Runtime& runtime, const TapTable& table, Source<T> source, const SegmentLayout& layout,
         Panels<typename Compute<T>::type> weights, int64_t first_channel = 0)
      : source(std::move(source)),
        reader(runtime, table, this->source, layout),
        layout(layout),
        weights(std::move(weights)),
        first_channel(first_channel) {}
  Factor(const Factor&) = delete;

  const Source<T> source;
  const RowReader<T> reader;
  const SegmentLayout layout;
  const Panels<typename Compute<T>::type> weights;
  const int64_t first_channel;
};

template <typename T>
class BlockProduct {
 public:
  using Acc = typename Compute<T>::type;
  using Factors = std::vector<std::unique_ptr<Factor<T>>>;

  // Of a factor.
  struct Pointed {
    typename RowReader<T>::Scratch reader;
    Buffer<const Acc*> rows;
    std::vector<int32_t> live;        // segments that a tile reads, tile after tile
    std::vector<int64_t> live_begin;  // of each tile
  };
  struct Scratch {
    std::vector<Pointed> factors;
    Buffer<Acc> sums;
    std::vector<const Acc*> weights;  // of a tile's live segments
  };

  // `results` of all groups together. Depthwise, weights are (taps, channels) in one panel and groups is 1.
  BlockProduct(Factors factors, int32_t groups, int32_t results, bool depthwise)
      : factors_(std::move(factors)),
        groups_(groups),
        results_(results),
        padded_(factors_[0]->weights.padded()),
        depthwise_(depthwise),
        tile_rows_(depthwise ? kernels_.channel_rows : kernels_.rows),
        parts_(divide()) {}

  int32_t tile_rows() const { return tile_rows_; }

  // Whether the order of rows decides which segments a tile reads.
  bool by_taps() const { return !factors_[0]->layout.by_lines(); }

  // What a row takes in scratch.
  int64_t row_bytes() const {
    int64_t segments = 0;
    for (const auto& factor : factors_) segments += factor->layout.segments;
    return segments * int64_t(sizeof(Acc*)) + ld() * int64_t(sizeof(Acc));
  }

  // Calls done(i, n, sums, ld) for rows i to i + n of the block when their sums (n, results) are complete.
  template <typename Done>
  void operator()(const int64_t* rows, int64_t count, Scratch& scratch, const Done& done) const {
    const int64_t tiles = (count + tile_rows_ - 1) / tile_rows_;
    Acc* sums = scratch.sums.get((parts_.size() == 1 ? 1 : tiles) * tile_rows_ * ld());
    scratch.factors.resize(factors_.size());
    for (size_t f = 0; f < factors_.size(); ++f) point(*factors_[f], rows, count, scratch.factors[f]);
    const auto finish = [&](int64_t tile, Acc* tile_sums) {
      const int64_t first = tile * tile_rows_, n = std::min<int64_t>(tile_rows_, count - first);
      close_gaps(n, tile_sums);
      done(first, n, tile_sums, ld());
    };
    // All weights stay in second-level cache, and a tile's sums in the first: or, where weights come in
    // parts, a panel of a part in the first, while all tiles pass by.
    if (parts_.size() == 1) {
      for (int64_t tile = 0; tile < tiles; ++tile) {
        multiply(parts_[0], tile, tile + 1, tiles, scratch, sums);
        finish(tile, sums);
      }
    } else {
      for (const Part& part : parts_) multiply(part, 0, tiles, tiles, scratch, sums);
      for (int64_t tile = 0; tile < tiles; ++tile) finish(tile, sums + tile * tile_rows_ * ld());
    }
  }

 private:
  // Weights that a tile is multiplied with before the next tile's turn: segments [first, end) of a factor, or
  // a piece of one.
  struct Part {
    size_t factor;
    int32_t first, end;
    int64_t offset, length;
  };

  int64_t ld() const { return int64_t{groups_} * padded_; }

  // One part, if second-level cache keeps it while tiles pass by; else parts of which first-level cache keeps
  // a panel. None so long that rounding errors of long sums pile up.
  std::vector<Part> divide() const {
    constexpr int64_t kWholeBytes = 1 << 18;
    constexpr int64_t kWholeSteps = 1024, kPanelSteps = 256;
    int64_t all = 0;
    for (const auto& factor : factors_) all += factor->layout.segments * factor->layout.length();
    const bool whole = all <= kWholeSteps && all * padded_ * int64_t(sizeof(Acc)) <= kWholeBytes;
    std::vector<Part> parts;
    for (size_t f = 0; f < factors_.size(); ++f) {
      const int32_t segments = factors_[f]->layout.segments;
      const int64_t length = factors_[f]->layout.length();
      if (depthwise_ || whole) {
        parts.push_back({f, 0, segments, 0, length});
      } else if (length <= kPanelSteps) {
        const int32_t wanted = int32_t((segments * length + kPanelSteps - 1) / kPanelSteps);
        const int32_t each = (segments + wanted - 1) / wanted;
        for (int32_t s = 0; s < segments; s += each)
          parts.push_back({f, s, std::min(s + each, segments), 0, length});
      } else {
        const int64_t pieces = (length + kPanelSteps - 1) / kPanelSteps,
                      each = (length + pieces - 1) / pieces;
        for (int32_t s = 0; s < segments; ++s)
          for (int64_t offset = 0; offset < length; offset += each)
            parts.push_back({f, s, s + 1, offset, std::min(each, length - offset)});
      }
    }
    return parts;
  }

  // Between the results of groups, where panels are wider than these.
  void close_gaps(int64_t rows, Acc* sums) const {
    const int32_t group_results = results_ / groups_;
    if (groups_ == 1 || padded_ == group_results) return;
    for (int64_t i = 0; i < rows; ++i, sums += ld())
      for (int32_t group = 1; group < groups_; ++group)
        std::copy_n(sums + int64_t{group} * padded_, group_results, sums + int64_t{group} * group_results);
  }

  void point(const Factor<T>& factor, const int64_t* rows, int64_t count, Pointed& pointed) const {
    const int64_t tiles = (count + tile_rows_ - 1) / tile_rows_;
    const int64_t tile_pointers = int64_t{factor.layout.segments} * tile_rows_;
    const Acc** to = pointed.rows.get(tiles * tile_pointers);
    pointed.reader.begin_block();
    pointed.live.clear();
    pointed.live_begin.assign(1, 0);
    for (int64_t tile = 0; tile < tiles; ++tile, to += tile_pointers) {
      const int64_t first = tile * tile_rows_;
      factor.reader.point(rows + first, std::min<int64_t>(tile_rows_, count - first), tile_rows_,
                          pointed.reader, to);
      keep_live(factor, to, pointed);
    }
  }

  // Moves the pointers of segments that some row reads to the front, and lists these.
  void keep_live(const Factor<T>& factor, const Acc** pointers, Pointed& pointed) const {
    const Acc** to = pointers;
    for (int32_t s = 0; s < factor.layout.segments; ++s, pointers += tile_rows_) {
      const bool reads = std::any_of(pointers, pointers + tile_rows_,
                                     [&](const Acc* p) { return p != factor.reader.zeros(); });
      if (!reads) continue;
      if (to != pointers) std::copy_n(pointers, tile_rows_, to);
      to += tile_rows_;
      pointed.live.push_back(s);
    }
    pointed.live_begin.push_back(int64_t(pointed.live.size()));
  }

  // Tiles [first, end) of `tiles`, whose sums begin at `sums`.
  void multiply(const Part& part, int64_t first, int64_t end, int64_t tiles, Scratch& scratch,
                Acc* sums) const {
    const auto panel = [&](int32_t group, int32_t result, void (*kernel)(const TileOperands<Acc>&)) {
      multiply_panel(part, group, result, kernel, first, end, tiles, scratch, sums);
    };
    if (depthwise_) return panel(0, 0, kernels_.multiply_channels);
    const int32_t group_results = results_ / groups_;
    const Panels<Acc>& weights = factors_[part.factor]->weights;
    for (int32_t group = 0; group < groups_; ++group)
      for (int32_t result = 0, width; result < group_results; result += width) {
        width = weights.panel_width(result);
        panel(group, result, width == kernels_.panel ? kernels_.multiply : kernels_.multiply_narrow);
      }
  }

  void multiply_panel(const Part& part, int32_t group, int32_t result,
                      void (*kernel)(const TileOperands<Acc>&), int64_t first_tile, int64_t end_tile,
                      int64_t tiles, Scratch& scratch, Acc* sums) const {
    const Factor<T>& factor = *factors_[part.factor];
    const Pointed& pointed = scratch.factors[part.factor];
    scratch.weights.resize(factor.layout.segments);
    TileOperands<Acc> operands;
    operands.weights = scratch.weights.data();
    operands.offset = factor.first_channel + int64_t{group} * factor.layout.channels + part.offset;
    operands.length = depthwise_ ? factor.layout.channels : part.length;
    operands.taps = factor.layout.taps;
    operands.ld = ld();
    operands.add = &part != &parts_.front();
    operands.sums = sums + int64_t{group} * padded_ + result;
    const int64_t part_offset = part.offset * factor.weights.panel_width(result);
    for (int64_t tile = first_tile; tile < end_tile; ++tile, operands.sums += tile_rows_ * ld()) {
      const int32_t* live = pointed.live.data() + pointed.live_begin[tile];
      const int32_t* live_end = pointed.live.data() + pointed.live_begin[tile + 1];
      const int32_t* first = std::lower_bound(live, live_end, part.first);
      const int32_t* end = std::lower_bound(first, live_end, part.end);
      operands.rows = pointed.rows.data() + (tile * factor.layout.segments + (first - live)) * tile_rows_;
      operands.segments = end - first;
      if (operands.add && operands.segments == 0) continue;
      for (int64_t s = 0; s < operands.segments; ++s)
        scratch.weights[s] = factor.weights.at(group, first[s], result) + part_offset;
      operands.next = next_rows(factor, pointed, tile, tiles) + operands.offset;
      kernel(operands);
    }
  }

  // What the next tile reads of its last segment: no tile before has read that, where rows follow each other.
  const Acc* next_rows(const Factor<T>& factor, const Pointed& pointed, int64_t tile, int64_t tiles) const {
    if (tile + 1 == tiles) return factor.reader.zeros();
    const int64_t live = pointed.live_begin[tile + 2] - pointed.live_begin[tile + 1];
    if (live == 0) return factor.reader.zeros();
    return pointed.rows.data()[((tile + 1) * factor.layout.segments + live - 1) * tile_rows_];
  }

  const TileKernels<Acc>& kernels_ = tile_kernels<Acc>();
  Factors factors_;
  int32_t groups_, results_;
  int32_t padded_;  // results of a group, up to whole panels
  bool depthwise_;
  int32_t tile_rows_;
  std::vector<Part> parts_;
};

// Writes the rows of a tile: finish(rows, n, sums, ld, to) turns sums into what is to be written, at to[i]
// for each of the n rows.
template <typename T>
class TileWriter {
 public:
  using Acc = typename Compute<T>::type;

  template <typename Finish>
  void operator()(const OutputView<T>& out, const Finish& finish, const int64_t* rows, int64_t n, Acc* sums,
                  int64_t ld) {
    to_.resize(n);
    for (int64_t i = 0; i < n; ++i) {
      Acc* there = out.template in_place<Acc>(rows[i]);
      to_[i] = there ? there : sums + i * ld;
    }
    finish(rows, n, sums, ld, to_.data());
    if (!out.template in_place<Acc>(rows[0])) out.store(rows, n, sums, ld, rounded_);
  }

 private:
  std::vector<Acc*> to_;
  Buffer<T> rounded_;
};

// Computes the rows in blocks and writes them.
template <typename T, typename Finish>
void for_each_row_block(const Runtime& runtime, const BlockProduct<T>& product, const RowList& rows,
                        const OutputView<T>& out, const Finish& finish) {
  using Acc = typename Compute<T>::type;
  struct Scratch {
    typename BlockProduct<T>::Scratch product;
    TileWriter<T> writer;
  };
  const int64_t total = int64_t(rows.size());
  const int64_t block = choose_block_rows(total, product.row_bytes(), product.tile_rows(), runtime.threads);
  for_each_block<Scratch>(runtime, (total + block - 1) / block, [&](int64_t b, Scratch& scratch) {
    const int64_t* block_rows = rows.data() + b * block;
    product(block_rows, std::min(block, total - b * block), scratch.product,
            [&](int64_t first, int64_t n, Acc* sums, int64_t ld) {
              scratch.writer(out, finish, block_rows + first, n, sums, ld);
            });
  });
}

}  // namespace maskconv::cpu
