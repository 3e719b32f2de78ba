// The product of a few rows with the weight as it lies: to pack it first, as the product of blocks does,
// would take longer than to multiply.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/product.h"

namespace maskconv::cpu {

// What a row reads of a tap: channels [first, first + count) of each group, where they are live.
struct Piece {
  int64_t first, count;
  const LiveMap* live;
};

inline constexpr int64_t kFewRows = 32;

template <typename T>
class FewRows {
 public:
  // x (N, positions, C), read where it is live. In a mask of one part there is one piece.
  FewRows(const ConvProblem& problem, const TapTable& table, const std::vector<Piece>& pieces, const T* x,
          const RowList& rows)
      : problem_(problem), tile_rows_(kernels_.dot_rows), zeros_(problem.channels, T(0)) {
    const int32_t taps = table.taps();
    std::vector<std::vector<int64_t>> sources(pieces.size(), std::vector<int64_t>(rows.size() * taps));
    for (size_t p = 0; p < pieces.size(); ++p)
      table.lookup(rows.data(), int64_t(rows.size()), *pieces[p].live, sources[p].data());
    for (int64_t first = 0; first < int64_t(rows.size()); first += tile_rows_) {
      const int64_t n = std::min<int64_t>(tile_rows_, int64_t(rows.size()) - first);
      Tile tile;
      for (size_t p = 0; p < pieces.size(); ++p)
        for (int32_t tap = 0; tap < taps; ++tap)
          add_term(tile, x, pieces[p], tap, taps, n, &sources[p][first * taps]);
      tiles_.push_back(std::move(tile));
    }
  }

  // sums (rows up to whole tiles, K): threads share the filters, so that each weight is read by one of them.
  void multiply(const Runtime& runtime, const T* weight, T* sums) const {
    const int64_t filters = problem_.filters, filter_size = problem_.channels_per_group() * problem_.taps();
    constexpr int64_t kGrainProducts = 1 << 17;
    const int64_t products = int64_t(tiles_.size()) * tile_rows_ * filter_size;
    runtime.parallel_for(0, filters, kGrainProducts / products + 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin, count; k < end; k += count) {
        const int64_t group = k / problem_.filters_per_group();
        const int64_t group_end = (group + 1) * problem_.filters_per_group();
        const bool several = k + kernels_.dot_filters <= std::min(end, group_end);
        count = several ? kernels_.dot_filters : 1;
        for (size_t t = 0; t < tiles_.size(); ++t) {
          const Tile& tile = tiles_[t];
          kernels_.dot[several]({tile.rows.data(), tile.places.data(), tile.lengths.data(),
                                 int64_t(tile.places.size()), group * problem_.channels_per_group(),
                                 weight + k * filter_size, filter_size,
                                 sums + int64_t(t) * tile_rows_ * filters + k, filters});
        }
      }
    });
  }

  int64_t tile_rows() const { return tile_rows_; }
  int64_t sums_size() const { return int64_t(tiles_.size()) * tile_rows_ * problem_.filters; }

 private:
  struct Tile {
    std::vector<const T*> rows;
    std::vector<int64_t> places, lengths;
  };

  // Unless no row reads it.
  void add_term(Tile& tile, const T* x, const Piece& piece, int32_t tap, int32_t taps, int64_t n,
                const int64_t* sources) const {
    bool reads = false;
    for (int64_t i = 0; i < n; ++i) reads = reads || sources[i * taps + tap] >= 0;
    if (!reads) return;
    for (int64_t i = 0; i < tile_rows_; ++i) {
      const int64_t source = i < n ? sources[i * taps + tap] : -1;
      tile.rows.push_back(source < 0 ? zeros_.data() : x + source * problem_.channels + piece.first);
    }
    tile.places.push_back(int64_t{tap} * problem_.channels_per_group() + piece.first);
    tile.lengths.push_back(piece.count);
  }

  const TileKernels<T>& kernels_ = tile_kernels<T>();
  const ConvProblem& problem_;
  int64_t tile_rows_;
  std::vector<T> zeros_;
  std::vector<Tile> tiles_;
};

// Computes and writes them.
template <typename T, typename Finish>
void few_rows(const Runtime& runtime, const FewRows<T>& product, const RowList& rows, const T* weight,
              const OutputView<T>& out, const Finish& finish) {
  Buffer<T> sums;
  product.multiply(runtime, weight, sums.get(product.sums_size()));
  TileWriter<T> writer;
  for (int64_t first = 0; first < int64_t(rows.size()); first += product.tile_rows()) {
    const int64_t n = std::min(product.tile_rows(), int64_t(rows.size()) - first);
    writer(out, finish, rows.data() + first, n, sums.data() + first * out.channels, out.channels);
  }
}

}  // namespace maskconv::cpu
