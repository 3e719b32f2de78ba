// The reduction axis of grad_weight: of the output rows of a split, those at which a tap of the tile meets a
// valid position of the input and grad is valid, in ascending order. Masks, stride, dilation, padding and
// rank end here; the loads know two offsets a row, a bit a tap, and the products the row's scale.
#pragma once

#include <type_traits>

#include "device/element.cuh"
#include "device/window.cuh"
#include "plan/grad_weight_params.h"

namespace maskconv::grad_weight {

// What a block computes: block_m filters x block_n columns of one group, over the rows of one split.
struct Tile {
  int32_t split;
  int32_t group;
  int32_t first_filter;  // within the group
  int64_t first_column;  // a column is a tap and a channel of the group
};

template <GemmConfig kConfig>
__device__ __forceinline__ Tile tile_of_block(const GradWeightParams& params) {
  const uint32_t tiles = static_cast<uint32_t>(params.tiles());
  const uint32_t tile = blockIdx.x % tiles;
  const uint32_t columns = static_cast<uint32_t>(params.column_tiles);
  const uint32_t filter_tile = tile / columns;
  Tile result;
  result.split = static_cast<int32_t>(blockIdx.x / tiles);
  result.group = static_cast<int32_t>(filter_tile / params.filter_tiles);
  result.first_filter = static_cast<int32_t>(filter_tile % params.filter_tiles) * kConfig.block_m;
  result.first_column = int64_t{tile % columns} * kConfig.block_n;
  return result;
}

struct TapIndex {
  int32_t at[kAxes];

  __device__ __forceinline__ TapIndex(const ConvProblem& problem, int32_t tap) {
    const int32_t plane = tap / problem.kernel[2];
    at[0] = plane / problem.kernel[1];
    at[1] = plane % problem.kernel[1];
    at[2] = tap % problem.kernel[2];
  }

  __device__ __forceinline__ void next(const ConvProblem& problem) {
    for (int axis = kAxes - 1; axis >= 0; --axis) {
      if (++at[axis] < problem.kernel[axis]) return;
      at[axis] = 0;
    }
  }

  // Input positions between tap 0 and this one.
  __device__ __forceinline__ int64_t delta(const ConvProblem& problem) const {
    return (int64_t{at[0]} * problem.dilation[0] * problem.input[1] + at[1] * problem.dilation[1]) *
               problem.input[2] +
           at[2] * problem.dilation[2];
  }
};

// The (tap, channel) that a column of the weight stands for.
struct Column {
  int32_t tap;
  int32_t channel;

  __device__ __forceinline__ Column(const ConvProblem& problem, int64_t column)
      : tap(static_cast<int32_t>(divide(column, problem.channels_per_group()))),
        channel(static_cast<int32_t>(column - int64_t{tap} * problem.channels_per_group())) {}
};

// The scales of the listed rows: in the type of sums, or, for tensor cores that multiply halves, each as the
// sum of two halves, an array of either.
template <GemmConfig kConfig, class Element>
class RowScales {
 public:
  using Acc = Accumulator<Element>;
  static constexpr bool kHalves = kConfig.kernel == GemmKernel::kMma;

  __device__ __forceinline__ RowScales(unsigned char* scales) : scales_(scales) {}

  __device__ __forceinline__ void put(int32_t entry, Acc scale, Site site = Site::here()) const {
    if constexpr (kHalves) {
      // A product with a scale that fp16 has no room for overflows; with an infinite one zeros would be NaN.
      constexpr float kMaxScale = std::is_same_v<Element, f16> ? 65504 : 3.38953139e38f;
      const float finite = scale > kMaxScale ? kMaxScale : scale;
      const Element high = from_float<Element>(finite);
      ptx::store_shared(half(0, entry), high, site);
      ptx::store_shared(half(1, entry), from_float<Element>(finite - to_float(high)), site);
    } else {
      ptx::store_shared(reinterpret_cast<Acc*>(scales_) + entry, scale, site);
    }
  }
  __device__ __forceinline__ Acc get(int32_t entry) const {
    static_assert(!kHalves);
    return ptx::load_shared(reinterpret_cast<const Acc*>(scales_) + entry);
  }
  // Of two rows, the first even: their upper, or lower, halves.
  __device__ __forceinline__ uint32_t pair(bool lower, int32_t entry) const {
    static_assert(kHalves);
    return ptx::load_shared(reinterpret_cast<const uint32_t*>(half(lower, entry)));
  }
  __device__ __forceinline__ void move(int32_t to, int32_t from) const {
    if constexpr (kHalves) {
      for (int32_t lower = 0; lower < 2; ++lower)
        ptx::store_shared(half(lower, to), ptx::load_shared(half(lower, from)));
    } else {
      put(to, get(from));
    }
  }

 private:
  __device__ __forceinline__ Element* half(int32_t lower, int32_t entry) const {
    return reinterpret_cast<Element*>(scales_) + lower * list_capacity(kConfig) + entry;
  }

  unsigned char* const scales_;
};

template <GemmConfig kConfig, class Element>
struct Smem {
  static constexpr Layout kAt = layout(kConfig, kDType<Element>);
  using TapBits = std::conditional_t<tap_bits_bytes(kConfig) == 4, uint32_t, uint64_t>;

  unsigned char* const base = ptx::dynamic_smem();

  __device__ __forceinline__ unsigned char* stage(int32_t index) const {
    return base + kAt.stages + index * operand_stage_bytes(kConfig, kDType<Element>);
  }
  __device__ __forceinline__ int64_t* row_grad(int32_t entry) const {
    return reinterpret_cast<int64_t*>(base + kAt.row_grad) + entry;
  }
  __device__ __forceinline__ int64_t* row_input(int32_t entry) const {
    return reinterpret_cast<int64_t*>(base + kAt.row_input) + entry;
  }
  __device__ __forceinline__ RowScales<kConfig, Element> row_scales() const { return {base + kAt.row_scale}; }
  __device__ __forceinline__ TapBits* row_taps(int32_t entry) const {
    return reinterpret_cast<TapBits*>(base + kAt.row_taps) + entry;
  }
  __device__ __forceinline__ int32_t* warp_count(int32_t scan, int32_t row, int32_t warp) const {
    return reinterpret_cast<int32_t*>(base + kAt.warp_counts) +
           (scan % 2 * kRowsPerThread + row) * (kConfig.threads() / 32) + warp;
  }
};

// The list in shared memory, filled part by part: `refill` once all threads are done with the last part.
template <GemmConfig kConfig, class Element>
class LiveRows {
 public:
  __device__ __forceinline__ LiveRows(const GradWeightParams& params, const Tile& tile,
                                      const Smem<kConfig, Element>& smem)
      : params_(params),
        smem_(smem),
        group_(tile.group),
        grad_offset_(int64_t{tile.group} * params.problem.filters_per_group() + tile.first_filter),
        input_offset_(int64_t{tile.group} * params.problem.channels_per_group()),
        next_(tile.split * params.rows_per_split),
        end_(next_ + params.rows_per_split) {
    if (end_ > params.problem.rows()) end_ = params.problem.rows();
    const int64_t end_column = tile.first_column + kConfig.block_n;
    const int64_t last_column = (end_column < params.columns() ? end_column : params.columns()) - 1;
    first_tap_ = Column(params.problem, tile.first_column).tap;
    taps_ = Column(params.problem, last_column).tap - first_tap_ + 1;
  }

  // Lists the next rows and returns how many are to be multiplied: a multiple of block_k, until the end.
  __device__ __forceinline__ int32_t refill() {
    keep_rest();
    while (next_ < end_ && listed_ + kScanRows <= list_capacity(kConfig)) scan();
    // A whole step multiplies the zeros of rows beyond the last, whose scales must be numbers.
    const int32_t beyond = listed_ + static_cast<int32_t>(threadIdx.x);
    if (scaled() && ended() && beyond / kConfig.block_k == (listed_ - 1) / kConfig.block_k)
      smem_.row_scales().put(beyond, 0);
    __syncthreads();
    ready_ = ended() ? listed_ : listed_ / kConfig.block_k * kConfig.block_k;
    return ready_;
  }

  __device__ __forceinline__ bool ended() const { return next_ >= end_; }

 private:
  using Acc = Accumulator<Element>;
  using TapBits = typename Smem<kConfig, Element>::TapBits;
  static constexpr int32_t kWarps = kConfig.threads() / 32;
  static constexpr int32_t kScanRows = rows_per_scan(kConfig);
  static_assert(kConfig.block_k <= kConfig.threads(), "a thread moves one row of the rest");
  static_assert(list_capacity(kConfig) - kScanRows >= 2 * kConfig.block_k,
                "the rest lies behind what it is moved to, and the list takes a scan beside it");

  // Moves the rows that made no whole step to the front. The next scan's barrier is between these accesses
  // and those that follow.
  __device__ __forceinline__ void keep_rest() {
    const int32_t rest = listed_ - ready_;
    const int32_t thread = threadIdx.x;
    if (thread < rest) {
      ptx::store_shared(smem_.row_grad(thread), ptx::load_shared(smem_.row_grad(ready_ + thread)));
      ptx::store_shared(smem_.row_input(thread), ptx::load_shared(smem_.row_input(ready_ + thread)));
      ptx::store_shared(smem_.row_taps(thread), ptx::load_shared(smem_.row_taps(ready_ + thread)));
      if (scaled()) smem_.row_scales().move(thread, ready_ + thread);
    }
    listed_ = rest;
  }

  // Looks at the next kScanRows rows and appends those that are live.
  __device__ __forceinline__ void scan() {
    const ConvProblem& problem = params_.problem;
    RowIndex window[kRowsPerThread];
    bool counts[kRowsPerThread];
#pragma unroll
    for (int32_t i = 0; i < kRowsPerThread; ++i) {
      const int64_t q = row(i);
      window[i] = RowIndex(problem.output, q);
      counts[i] = q < end_ && is_valid(q, window[i].image);
      for (int axis = 0; axis < kAxes; ++axis)
        window[i].at[axis] = window[i].at[axis] * problem.stride[axis] - problem.padding[axis];
    }
    TapBits taps[kRowsPerThread] = {};
    TapIndex tap(problem, first_tap_);
    for (int32_t bit = 0; bit < taps_; ++bit, tap.next(problem))
#pragma unroll
      for (int32_t i = 0; i < kRowsPerThread; ++i)
        taps[i] |= TapBits{counts[i] && is_live(window[i], tap)} << bit;
    append(window, taps);
  }

  __device__ __forceinline__ int64_t row(int32_t i) const {
    return next_ + i * kConfig.threads() + static_cast<int32_t>(threadIdx.x);
  }

  __device__ __forceinline__ bool scaled() const { return params_.gradient.scale != nullptr; }

  // Of the row's window. Without a mask, or with one for the whole batch, the first image has those of all.
  __device__ __forceinline__ int64_t window_of(int64_t q, int64_t image) const {
    const ConvProblem& problem = params_.problem;
    const int64_t at = problem.mask_batch > 1 ? q : q - image * problem.output_positions();
    const int32_t windows = params_.gradient.window_channels;
    return at * windows + (windows > 1 ? group_ : 0);
  }

  __device__ __forceinline__ bool is_valid(int64_t q, int64_t image) const {
    if (params_.gradient.valid == nullptr) return true;
    return ptx::load_global(params_.gradient.valid + window_of(q, image)) != 0;
  }

  __device__ __forceinline__ bool is_live(const RowIndex& window, const TapIndex& tap) const {
    const ConvProblem& problem = params_.problem;
    int32_t at[kAxes];
    bool in_image = true;
#pragma unroll
    for (int axis = 0; axis < kAxes; ++axis) {
      at[axis] = window.at[axis] + tap.at[axis] * problem.dilation[axis];
      in_image = in_image && inside(problem.input, axis, at[axis]);
    }
    if (!in_image) return false;
    if (params_.mask == nullptr) return true;
    const int64_t image = problem.mask_batch > 1 ? window.image : 0;
    return ptx::load_global(params_.mask + position(problem.input, image, at)) != 0;
  }

  // Every live row gets the place that its order gives it: no atomics, so lists are the same every time.
  __device__ __forceinline__ void append(const RowIndex (&window)[kRowsPerThread],
                                         const TapBits (&taps)[kRowsPerThread]) {
    const ConvProblem& problem = params_.problem;
    const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t live[kRowsPerThread];
#pragma unroll
    for (int32_t i = 0; i < kRowsPerThread; ++i) {
      live[i] = __ballot_sync(~0u, taps[i] != 0);
      if (lane == 0) ptx::store_shared(smem_.warp_count(scans_, i, warp), __popc(live[i]));
    }
    __syncthreads();  // the counts of the scan after next overwrite these: its barrier is between
#pragma unroll
    for (int32_t i = 0; i < kRowsPerThread; ++i) {
      for (int32_t w = 0; w < kWarps; ++w) {
        if (w == warp && taps[i] != 0) {
          const int32_t entry = listed_ + __popc(live[i] & ((1u << lane) - 1));
          ptx::store_shared(smem_.row_grad(entry), row(i) * problem.filters + grad_offset_);
          ptx::store_shared(
              smem_.row_input(entry),
              position(problem.input, window[i].image, window[i].at) * problem.channels + input_offset_);
          ptx::store_shared(smem_.row_taps(entry), taps[i]);
          if (scaled())
            smem_.row_scales().put(entry, ptx::load_global(static_cast<const Acc*>(params_.gradient.scale) +
                                                           window_of(row(i), window[i].image)));
        }
        listed_ += ptx::load_shared(smem_.warp_count(scans_, i, w));
      }
    }
    ++scans_;
    next_ += kScanRows;
  }

  const GradWeightParams& params_;
  const Smem<kConfig, Element>& smem_;
  const int32_t group_;
  const int64_t grad_offset_;
  const int64_t input_offset_;
  int32_t first_tap_;
  int32_t taps_;
  int64_t next_;  // row to be looked at
  int64_t end_;
  int32_t listed_ = 0;
  int32_t ready_ = 0;  // of those, handed out
  int32_t scans_ = 0;
};

}  // namespace maskconv::grad_weight
