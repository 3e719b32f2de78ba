// Rows worth computing, the order they are computed in, and the blocks they are cut into.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "cpu/engine.h"
#include "cpu/taps.h"

namespace maskconv::cpu {

using RowList = std::vector<int64_t>;  // positions in the whole batch

// The live positions of a batch of images. They come class by class of (position + padding) mod stride: with
// the stride of a convolution, rows of one class read the same taps. Stride 1 gives raster order.
RowList list_rows(const Runtime& runtime, int64_t batch, const int32_t extent[kAxes], const LiveMap& live,
                  const int32_t stride[kAxes], const int32_t padding[kAxes]);

// Reorders rows, where it pays, so that tiles of `tile_rows` have few live taps.
void group_rows_by_taps(const Runtime& runtime, const TapTable& table, const LiveMap& source_live,
                        int64_t tile_rows, RowList& rows);

// Rows a block should have, a multiple of `multiple`, when one takes `row_bytes` of scratch.
int64_t choose_block_rows(int64_t rows, int64_t row_bytes, int64_t multiple, int threads);

// Calls fn(block, scratch) for each block, with one Scratch a worker. Blocks differ in cost, so workers take
// the next one when done with the last.
template <typename Scratch, typename Fn>
void for_each_block(const Runtime& runtime, int64_t blocks, const Fn& fn) {
  if (blocks == 0) return;
  std::atomic<int64_t> next{0};
  const int64_t workers = std::clamp<int64_t>(runtime.threads, 1, blocks);
  runtime.parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    Scratch scratch;
    for (int64_t block = next++; block < blocks; block = next++) fn(block, scratch);
  });
}

// Uninitialised storage that grows, aligned to cache lines: vectors of a whole line do not straddle two.
template <typename T>
class Buffer {
 public:
  T* get(int64_t size) {
    if (size > capacity_) {
      data_.reset();
      data_.reset(static_cast<T*>(::operator new(size * sizeof(T), kAlignment)));
      capacity_ = size;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(T* data) const { ::operator delete(data, kAlignment); }
  };

  std::unique_ptr<T, Delete> data_;
  int64_t capacity_ = 0;
};

}  // namespace maskconv::cpu
