// The product of a block of rows with the weight: what forward and input gradient have in common. Only
// segments that some row of a tile reads are multiplied.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/panels.h"
#include "cpu/row_reader.h"
#include "cpu/store.h"
#include "cpu/tile.h"

namespace maskconv::cpu {

template <typename T>
class BlockProduct {
 public:
  using Acc = typename Compute<T>::type;

  struct Scratch {
    typename RowReader<T>::Scratch reader;
    Buffer<const Acc*> rows;
    Buffer<Acc> sums;
    std::vector<int32_t> live;        // segments that a tile reads, tile after tile
    std::vector<int64_t> live_begin;  // of each tile
    std::vector<const Acc*> weights;  // of a tile's live segments
  };

  // `results` of all groups together. Depthwise, `weights` are (taps, channels) in one panel and groups is 1.
  BlockProduct(const Runtime& runtime, const TapTable& table, const Source<T>& source,
               const SegmentLayout& layout, const Panels<Acc>& weights, int32_t groups, int32_t results,
               bool depthwise)
      : reader_(runtime, table, source, layout),
        layout_(layout),
        weights_(weights),
        groups_(groups),
        results_(results),
        depthwise_(depthwise),
        tile_rows_(depthwise ? kernels_.channel_rows : kernels_.rows),
        parts_(divide()) {}

  int32_t tile_rows() const { return tile_rows_; }

  // What a row takes in scratch.
  int64_t row_bytes() const { return layout_.segments * int64_t(sizeof(Acc*)) + ld() * int64_t(sizeof(Acc)); }

  // Calls done(i, n, sums, ld) for rows i to i + n of the block when their sums (n, results) are complete.
  template <typename Done>
  void operator()(const int64_t* rows, int64_t count, Scratch& scratch, const Done& done) const {
    const int64_t tiles = (count + tile_rows_ - 1) / tile_rows_;
    const int64_t tile_pointers = int64_t{layout_.segments} * tile_rows_;
    const Acc** pointers = scratch.rows.get(tiles * tile_pointers);
    Acc* sums = scratch.sums.get((parts_.size() == 1 ? 1 : tiles) * tile_rows_ * ld());
    scratch.reader.begin_block();
    scratch.live.clear();
    scratch.live_begin.assign(1, 0);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile * tile_rows_;
      reader_.point(rows + first, std::min<int64_t>(tile_rows_, count - first), tile_rows_, scratch.reader,
                    pointers + tile * tile_pointers);
      keep_live(pointers + tile * tile_pointers, scratch);
    }
    const auto finish = [&](int64_t tile, Acc* tile_sums) {
      const int64_t first = tile * tile_rows_, n = std::min<int64_t>(tile_rows_, count - first);
      close_gaps(n, tile_sums);
      done(first, n, tile_sums, ld());
    };
    // All weights stay in second-level cache, and a tile's sums in the first: or, where weights come in
    // parts, a panel of a part in the first, while all tiles pass by.
    if (parts_.size() == 1) {
      for (int64_t tile = 0; tile < tiles; ++tile) {
        multiply(parts_[0], pointers, tile, tile + 1, tiles, scratch, sums);
        finish(tile, sums);
      }
    } else {
      for (const Part& part : parts_) multiply(part, pointers, 0, tiles, tiles, scratch, sums);
      for (int64_t tile = 0; tile < tiles; ++tile) finish(tile, sums + tile * tile_rows_ * ld());
    }
  }

 private:
  // Weights that a tile is multiplied with before the next tile's turn: segments [first, end), or a piece of
  // one.
  struct Part {
    int32_t first, end;
    int64_t offset, length;
  };

  int64_t ld() const { return int64_t{groups_} * weights_.padded(); }

  // One part, if second-level cache keeps it while tiles pass by; else parts of which first-level cache keeps
  // a panel. None so long that rounding errors of long sums pile up.
  std::vector<Part> divide() const {
    constexpr int64_t kWholeBytes = 1 << 18;
    constexpr int64_t kWholeSteps = 1024, kPanelSteps = 256;
    const int64_t length = layout_.length(), all = layout_.segments * length;
    const bool whole = all <= kWholeSteps && all * weights_.padded() * int64_t(sizeof(Acc)) <= kWholeBytes;
    if (depthwise_ || whole) return {{0, layout_.segments, 0, length}};
    const int64_t steps = kPanelSteps;
    std::vector<Part> parts;
    if (length <= steps) {
      const int32_t wanted = int32_t((layout_.segments * length + steps - 1) / steps);
      const int32_t each = (layout_.segments + wanted - 1) / wanted;
      for (int32_t s = 0; s < layout_.segments; s += each)
        parts.push_back({s, std::min(s + each, layout_.segments), 0, length});
    } else {
      const int64_t pieces = (length + steps - 1) / steps, each = (length + pieces - 1) / pieces;
      for (int32_t s = 0; s < layout_.segments; ++s)
        for (int64_t offset = 0; offset < length; offset += each)
          parts.push_back({s, s + 1, offset, std::min(each, length - offset)});
    }
    return parts;
  }

  // Between the results of groups, where panels are wider than these.
  void close_gaps(int64_t rows, Acc* sums) const {
    const int32_t group_results = results_ / groups_, padded = weights_.padded();
    if (groups_ == 1 || padded == group_results) return;
    for (int64_t i = 0; i < rows; ++i, sums += ld())
      for (int32_t group = 1; group < groups_; ++group)
        std::copy_n(sums + int64_t{group} * padded, group_results, sums + int64_t{group} * group_results);
  }

  // Moves the pointers of segments that some row reads to the front, and lists these.
  void keep_live(const Acc** pointers, Scratch& scratch) const {
    const Acc** to = pointers;
    for (int32_t s = 0; s < layout_.segments; ++s, pointers += tile_rows_) {
      const bool reads =
          std::any_of(pointers, pointers + tile_rows_, [&](const Acc* p) { return p != reader_.zeros(); });
      if (!reads) continue;
      if (to != pointers) std::copy_n(pointers, tile_rows_, to);
      to += tile_rows_;
      scratch.live.push_back(s);
    }
    scratch.live_begin.push_back(int64_t(scratch.live.size()));
  }

  // Tiles [first, end) of `tiles`, whose sums begin at `sums`.
  void multiply(const Part& part, const Acc* const* pointers, int64_t first, int64_t end, int64_t tiles,
                Scratch& scratch, Acc* sums) const {
    const auto panel = [&](int32_t group, int32_t result, void (*kernel)(const TileOperands<Acc>&)) {
      multiply_panel(part, group, result, kernel, pointers, first, end, tiles, scratch, sums);
    };
    if (depthwise_) return panel(0, 0, kernels_.multiply_channels);
    const int32_t group_results = results_ / groups_;
    for (int32_t group = 0; group < groups_; ++group)
      for (int32_t result = 0, width; result < group_results; result += width) {
        width = weights_.panel_width(result);
        panel(group, result, width == kernels_.panel ? kernels_.multiply : kernels_.multiply_narrow);
      }
  }

  void multiply_panel(const Part& part, int32_t group, int32_t result,
                      void (*kernel)(const TileOperands<Acc>&), const Acc* const* pointers,
                      int64_t first_tile, int64_t end_tile, int64_t tiles, Scratch& scratch,
                      Acc* sums) const {
    scratch.weights.resize(layout_.segments);
    TileOperands<Acc> operands;
    operands.weights = scratch.weights.data();
    operands.offset = int64_t{group} * layout_.channels + part.offset;
    operands.length = part.length;
    operands.ld = ld();
    operands.add = &part != &parts_.front();
    operands.sums = sums + int64_t{group} * weights_.padded() + result;
    const int64_t part_offset = part.offset * weights_.panel_width(result);
    for (int64_t tile = first_tile; tile < end_tile; ++tile, operands.sums += tile_rows_ * ld()) {
      const int32_t* live = scratch.live.data() + scratch.live_begin[tile];
      const int32_t* live_end = scratch.live.data() + scratch.live_begin[tile + 1];
      const int32_t* first = std::lower_bound(live, live_end, part.first);
      const int32_t* end = std::lower_bound(first, live_end, part.end);
      operands.rows = pointers + (tile * layout_.segments + (first - live)) * tile_rows_;
      operands.segments = end - first;
      if (operands.add && operands.segments == 0) continue;
      for (int64_t s = 0; s < operands.segments; ++s)
        scratch.weights[s] = weights_.at(group, first[s], result) + part_offset;
      operands.next = next_rows(pointers, tile, tiles, scratch) + operands.offset;
      kernel(operands);
    }
  }

  // What the next tile reads of its last segment: no tile before has read that, where rows follow each other.
  const Acc* next_rows(const Acc* const* pointers, int64_t tile, int64_t tiles,
                       const Scratch& scratch) const {
    if (tile + 1 == tiles) return reader_.zeros();
    const int64_t live = scratch.live_begin[tile + 2] - scratch.live_begin[tile + 1];
    return live == 0 ? reader_.zeros() : pointers[((tile + 1) * layout_.segments + live - 1) * tile_rows_];
  }

  const TileKernels<Acc>& kernels_ = tile_kernels<Acc>();
  RowReader<T> reader_;
  SegmentLayout layout_;
  const Panels<Acc>& weights_;
  int32_t groups_, results_;
  bool depthwise_;
  int32_t tile_rows_;
  std::vector<Part> parts_;
};

// Computes the rows in blocks and writes them: finish(rows, n, sums, ld, to) turns sums into what is to be
// written, at to[i] for each of the n rows.
template <typename T, typename Finish>
void for_each_row_block(const Runtime& runtime, const BlockProduct<T>& product, const RowList& rows,
                        const OutputView<T>& out, const Finish& finish) {
  using Acc = typename Compute<T>::type;
  struct Scratch {
    typename BlockProduct<T>::Scratch product;
    std::vector<Acc*> to;
    Buffer<T> rounded;
  };
  const int64_t total = int64_t(rows.size());
  const int64_t block = choose_block_rows(total, product.row_bytes(), product.tile_rows(), runtime.threads);
  for_each_block<Scratch>(runtime, (total + block - 1) / block, [&](int64_t b, Scratch& scratch) {
    const int64_t* block_rows = rows.data() + b * block;
    scratch.to.resize(product.tile_rows());
    product(block_rows, std::min(block, total - b * block), scratch.product,
            [&](int64_t first, int64_t n, Acc* sums, int64_t ld) {
              const int64_t* tile = block_rows + first;
              for (int64_t i = 0; i < n; ++i) {
                Acc* there = out.template in_place<Acc>(tile[i]);
                scratch.to[i] = there ? there : sums + i * ld;
              }
              finish(tile, n, sums, ld, scratch.to.data());
              if (!out.template in_place<Acc>(tile[0])) out.store(tile, n, sums, ld, scratch.rounded);
            });
  });
}

}  // namespace maskconv::cpu
