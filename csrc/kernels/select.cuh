// Selects the input under a mask of any kind, (x where m != 0, else 0) * m, and leaves the channels last in
// memory: in rows as they are, or through tiles in shared memory where the positions are last in the input.
//
// Value is the type of the mask: uint8, or the accumulator's.
#pragma once

#include "device/channel_mask.cuh"
#include "device/element.cuh"
#include "device/row_blocks.cuh"
#include "plan/select.h"

namespace maskconv {

// Selection comes first: what lies under m == 0 is in no product.
template <class Element, class Value>
__device__ __forceinline__ Element selected(Element x, Value m) {
  if (m == 0) return from_accumulator<Element>(0);
  if constexpr (std::is_same_v<Value, uint8_t>) {
    return x;
  } else {
    return from_accumulator<Element>(to_accumulator(x) * m);
  }
}

// The mask of neighbouring channels, one position after the other.
template <class Value, int32_t kVector>
class MaskColumns {
 public:
  struct Values {
    Value value[kVector];
    __device__ __forceinline__ bool any() const {
      bool any = false;
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i) any = any || value[i] != 0;
      return any;
    }
  };

  __device__ __forceinline__ MaskColumns(const ChannelMask& mask, int32_t first, int32_t channels)
      : data_(static_cast<const Value*>(mask.data)), pitch_(mask.channels) {
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i)
      channel_[i] = mask_channel(mask, first + i < channels ? first + i : channels - 1);
  }

  // Neighbours that share a mask channel share a load.
  __device__ __forceinline__ Values at(int64_t position) const {
    Values m;
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i)
      m.value[i] = i > 0 && channel_[i] == channel_[i - 1]
                       ? m.value[i - 1]
                       : ptx::load_global(data_ + position * pitch_ + channel_[i]);
    return m;
  }

 private:
  const Value* data_;
  const int32_t pitch_;
  int32_t channel_[kVector];
};

constexpr int32_t kSelectUnroll = kRowUnroll / 2;  // a mask value a channel takes registers too
constexpr int32_t kSelectBlocksPerMultiprocessor = 4;

template <class Element, class Value, int32_t kVector>
__global__ void __launch_bounds__(kRowThreads, kSelectBlocksPerMultiprocessor)
    select_rows(const __grid_constant__ SelectParams params) {
  using Vector = RowVector<Element, kVector>;
  using Columns = MaskColumns<Value, kVector>;
  const ConvProblem& problem = params.problem;
  const int64_t positions = problem.input_positions();
  const RowThread thread(params, problem.batch * positions);
  if (thread.column >= problem.channels) return;
  const Columns mask(params.mask, thread.column, problem.channels);
  WrappedRow mask_row(thread, problem.mask_batch * positions);
  for (int64_t row = thread.row; row < thread.end; row += kSelectUnroll * thread.rows_at_once) {
    typename Columns::Values m[kSelectUnroll];
    Vector values[kSelectUnroll];
#pragma unroll
    for (int32_t i = 0; i < kSelectUnroll; ++i) {  // all loads before the first store
      const int64_t at = row + i * thread.rows_at_once;
      values[i] = Vector{};
      if (at < thread.end) {
        m[i] = mask.at(*mask_row);
        const Element* from = static_cast<const Element*>(params.x) + at * problem.channels + thread.column;
        if (m[i].any()) values[i] = ptx::load_global(reinterpret_cast<const Vector*>(from));
      }
      mask_row.next();
    }
#pragma unroll
    for (int32_t i = 0; i < kSelectUnroll; ++i) {
      const int64_t at = row + i * thread.rows_at_once;
      if (at >= thread.end) break;
#pragma unroll
      for (int32_t j = 0; j < kVector; ++j) values[i].value[j] = selected(values[i].value[j], m[i].value[j]);
      Element* const to = static_cast<Element*>(params.selected) + at * problem.channels + thread.column;
      ptx::store_global(reinterpret_cast<Vector*>(to), values[i]);
    }
  }
}

// Of a plane of positions: whole vectors where they are aligned, else what there is of one.
template <class Element, int32_t kVector>
__device__ __forceinline__ RowVector<Element, kVector> load_of_plane(const SelectParams& params,
                                                                     int64_t plane, int64_t first) {
  using Vector = RowVector<Element, kVector>;
  const int64_t positions = params.problem.input_positions();
  const Element* from = static_cast<const Element*>(params.x) + plane * positions + first;
  Vector values{};
  if (params.position_vector == kVector) {
    if (first < positions) values = ptx::load_global(reinterpret_cast<const Vector*>(from));
  } else {
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i)
      if (first + i < positions) values.value[i] = ptx::load_global(from + i);
  }
  return values;
}

// A block transposes one tile. Its rows in shared memory are channels, of kSelectTileChunks chunks of 16
// bytes; chunk c of a row is kept in the place c ^ (row / kVector): threads that read a position of
// neighbouring vectors of channels meet no bank twice, as those that write a row's chunks do not.
template <class Element, class Value>
__global__ void __launch_bounds__(kSelectTileThreads)
    select_planes(const __grid_constant__ SelectParams params) {
  constexpr int32_t kVector = kVectorBytes / sizeof(Element);
  constexpr int32_t kChunks = kSelectTileChunks;
  constexpr int32_t kTile = kChunks * kVector;  // channels, and positions
  constexpr int32_t kRowsAtOnce = kSelectTileThreads / kChunks;
  static_assert(kTile % kRowsAtOnce == 0, "every thread moves as many vectors");
  using Vector = RowVector<Element, kVector>;
  const ConvProblem& problem = params.problem;
  const int64_t positions = problem.input_positions();
  // Channel tiles run fastest: blocks side by side write the same rows.
  const int64_t tile_row = blockIdx.x / params.channel_tiles;
  const int32_t first_channel = static_cast<int32_t>(blockIdx.x % params.channel_tiles) * kTile;
  const int64_t image = tile_row / params.position_tiles;
  const int64_t first_position = tile_row % params.position_tiles * kTile;
  const int32_t chunk = threadIdx.x % kChunks, row = threadIdx.x / kChunks;
  Vector* const tile = reinterpret_cast<Vector*>(ptx::dynamic_smem());

  Vector loaded[kTile / kRowsAtOnce];
#pragma unroll
  for (int32_t i = 0; i < kTile / kRowsAtOnce; ++i) {
    const int32_t channel = first_channel + row + i * kRowsAtOnce;
    loaded[i] = Vector{};
    if (channel < problem.channels)
      loaded[i] = load_of_plane<Element, kVector>(params, image * problem.channels + channel,
                                                  first_position + chunk * kVector);
  }
#pragma unroll
  for (int32_t i = 0; i < kTile / kRowsAtOnce; ++i) {
    const int32_t channel = row + i * kRowsAtOnce;
    ptx::store_shared(tile + channel * kChunks + (chunk ^ (channel / kVector)), loaded[i]);
  }
  __syncthreads();

  const int32_t channel = first_channel + chunk * kVector;
  if (channel >= problem.channels) return;
  const MaskColumns<Value, kVector> mask(params.mask, channel, problem.channels);
  const int64_t mask_image = problem.mask_batch > 1 ? image : 0;
#pragma unroll
  for (int32_t i = 0; i < kTile / kRowsAtOnce; ++i) {
    const int32_t p = row + i * kRowsAtOnce;
    const int64_t at = first_position + p;
    if (at >= positions) return;
    const auto m = mask.at(mask_image * positions + at);
    Vector result;
#pragma unroll
    for (int32_t j = 0; j < kVector; ++j) {
      const Vector* from = tile + (chunk * kVector + j) * kChunks + (p / kVector ^ chunk);
      result.value[j] = selected(ptx::load_shared(from->value + p % kVector), m.value[j]);
    }
    Element* const to =
        static_cast<Element*>(params.selected) + (image * positions + at) * problem.channels + channel;
    if (params.vector == kVector) {
      ptx::store_global(reinterpret_cast<Vector*>(to), result);
    } else {
#pragma unroll
      for (int32_t j = 0; j < kVector; ++j)
        if (channel + j < problem.channels) ptx::store_global(to + j, result.value[j]);
    }
  }
}

}  // namespace maskconv
