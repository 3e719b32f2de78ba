// Where the sums of a tile go: into the result, or, of one split among several, into its part of the
// workspace.
#pragma once

#include "device/grad_weight_rows.cuh"

namespace maskconv::grad_weight {

template <class Element>
class Destination {
 public:
  using Acc = Accumulator<Element>;

  __device__ __forceinline__ Destination(const GradWeightParams& params, const Tile& tile)
      : filters_(params.problem.filters_per_group() - tile.first_filter),
        remaining_(params.columns() - tile.first_column),
        columns_(params.columns()),
        result_(static_cast<Element*>(params.result)),
        workspace_(static_cast<Acc*>(params.workspace)) {
    const int64_t filter = int64_t{tile.group} * params.problem.filters_per_group() + tile.first_filter;
    const int64_t first = filter * columns_ + tile.first_column;
    result_ += first;
    workspace_ += tile.split * params.elements() + first;
    split_ = params.splits > 1;
  }

  // Stores the sums of kCount columns, from one that kCount divides, if the weight has them. With kCount > 1
  // its columns have to be a multiple of that.
  template <int32_t kCount>
  __device__ __forceinline__ void store(int32_t filter, int32_t column, const Acc (&sums)[kCount]) const {
    if (filter >= filters_ || column >= remaining_) return;
    const int64_t at = filter * columns_ + column;
    if (split_) {
      store_as<Acc>(workspace_ + at, sums);
    } else {
      store_as<Element>(result_ + at, sums);
    }
  }

 private:
  template <class T, int32_t kCount>
  static __device__ __forceinline__ void store_as(T* to, const Acc (&sums)[kCount]) {
    struct alignas(kCount * sizeof(T)) Vector {
      T value[kCount];
    } vector;
#pragma unroll
    for (int32_t i = 0; i < kCount; ++i) {
      if constexpr (std::is_same_v<T, Acc>) {
        vector.value[i] = sums[i];
      } else {
        vector.value[i] = from_accumulator<T>(sums[i]);
      }
    }
    ptx::store_global(reinterpret_cast<Vector*>(to), vector);
  }

  const int32_t filters_;    // of the group, from the tile's first on
  const int64_t remaining_;  // columns, likewise
  const int64_t columns_;
  Element* result_;
  Acc* workspace_;
  bool split_;
};

}  // namespace maskconv::grad_weight
