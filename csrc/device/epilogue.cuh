// From accumulators to results: what the pass makes of a sum, conversion, and stores as wide as the channel
// count allows.
#pragma once

#include "device/smem.cuh"
#include "device/weight_sum.cuh"

namespace maskconv {

template <class Pass, GemmConfig kConfig, class Element>
__device__ __forceinline__ void epilogue(const typename Pass::Params& params, const GemmTile& tile,
                                         const GemmSmem<kConfig, Element>& smem) {
  using Acc = Accumulator<Element>;
  constexpr int32_t kVector = kVectorBytes / sizeof(Element);
  constexpr int32_t kChunk = kVectorBytes / sizeof(Acc);
  constexpr int32_t kVectorsPerRow = kConfig.block_n / kVector;
  static_assert(kConfig.threads() % kVectorsPerRow == 0, "a thread keeps its columns, and so its bias");
  struct alignas(kVectorBytes) Chunk {
    Acc value[kChunk];
  };
  struct alignas(kVectorBytes) Vector {
    Element value[kVector];
  };

  const int32_t column = threadIdx.x % kVectorsPerRow * kVector;
  const int32_t remaining = params.columns - (tile.first_column + column);
  if (remaining <= 0) return;
  const int64_t channel = int64_t{tile.group} * params.columns + tile.first_column + column;

  Acc bias[kVector] = {};
  if constexpr (Pass::kHasBias)
    if (params.bias != nullptr)
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i)
        if (i < remaining)
          bias[i] = to_accumulator(ptx::load_global(static_cast<const Element*>(params.bias) + channel + i));

  for (int32_t row = threadIdx.x / kVectorsPerRow; row < kConfig.block_m;
       row += kConfig.threads() / kVectorsPerRow) {
    const typename Pass::template Finish<Acc> finish(smem, row);
    if (finish.position < 0) return;  // as for every row after it
    Vector result;
#pragma unroll
    for (int32_t i = 0; i < kVector; i += kChunk) {
      const Chunk sums = ptx::load_shared(reinterpret_cast<const Chunk*>(smem.accumulator(row, column + i)));
      if constexpr (Pass::kHasBias) {
        if (params.weight_sum != nullptr) {
          const Acc* const from =
              weight_sums_at<Acc>(params.weight_sum, params.problem, finish.position, channel + i);
          Acc weight_sums[kChunk] = {};
          if (params.vector_store) {
            load_weight_sums(from, weight_sums);
          } else {
#pragma unroll
            for (int32_t j = 0; j < kChunk; ++j)
              if (i + j < remaining) weight_sums[j] = ptx::load_global(from + j);
          }
#pragma unroll
          for (int32_t j = 0; j < kChunk; ++j)
            result.value[i + j] =
                from_accumulator<Element>(finish(params, sums.value[j], bias[i + j], weight_sums[j]));
          continue;
        }
      }
#pragma unroll
      for (int32_t j = 0; j < kChunk; ++j)
        result.value[i + j] = from_accumulator<Element>(finish(params, sums.value[j], bias[i + j]));
    }
    Element* stored = static_cast<Element*>(params.result) + finish.position * params.result_pitch + channel;
    if (params.vector_store) {
      ptx::store_global(reinterpret_cast<Vector*>(stored), result);
    } else {
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i)
        if (i < remaining) ptx::store_global(stored + i, result.value[i]);
    }
  }
}

}  // namespace maskconv
