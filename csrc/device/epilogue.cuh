// From accumulators to output: scale, bias, fill, conversion, and stores as wide as the filter count allows.
#pragma once

#include "device/smem.cuh"

namespace maskconv {

template <ForwardConfig kConfig, class Element>
__device__ __forceinline__ void epilogue(const ForwardParams& params, const ForwardTile& tile,
                                         const ForwardSmem<kConfig, Element>& smem) {
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

  const ConvProblem& problem = params.problem;
  const int32_t column = threadIdx.x % kVectorsPerRow * kVector;
  const int32_t remaining = problem.filters_per_group() - (tile.first_filter + column);
  if (remaining <= 0) return;
  const int64_t filter = int64_t{tile.group} * problem.filters_per_group() + tile.first_filter + column;

  Acc bias[kVector] = {};
  if (params.bias != nullptr)
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i)
      if (i < remaining)
        bias[i] = to_accumulator(ptx::load_global(static_cast<const Element*>(params.bias) + filter + i));

  for (int32_t row = threadIdx.x / kVectorsPerRow; row < kConfig.block_m;
       row += kConfig.threads() / kVectorsPerRow) {
    const int64_t q = tile.first_row + row;
    if (q >= problem.rows()) return;
    const bool valid = ptx::load_shared(smem.row_valid + row) != 0;
    const Acc scale = ptx::load_shared(smem.row_scale + row);
    Vector result;
#pragma unroll
    for (int32_t i = 0; i < kVector; i += kChunk) {
      const Chunk sums = ptx::load_shared(reinterpret_cast<const Chunk*>(smem.accumulator(row, column + i)));
#pragma unroll
      for (int32_t j = 0; j < kChunk; ++j) {
        const Acc filled = problem.fill_with_bias ? bias[i + j] : static_cast<Acc>(problem.fill);
        const Acc value = valid ? scale * sums.value[j] + bias[i + j] : filled;
        result.value[i + j] = from_accumulator<Element>(value);
      }
    }
    Element* output = static_cast<Element*>(params.output) + q * problem.filters + filter;
    if (params.vector_store) {
      ptx::store_global(reinterpret_cast<Vector*>(output), result);
    } else {
#pragma unroll
      for (int32_t i = 0; i < kVector; ++i)
        if (i < remaining) ptx::store_global(output + i, result.value[i]);
    }
  }
}

}  // namespace maskconv
