// The gradient of the bias: reads that of the output once, and writes partial sums. A second, small kernel
// adds these up, in a fixed order.
#pragma once

#include "device/element.cuh"
#include "device/row_blocks.cuh"
#include "plan/grad_bias.h"

namespace maskconv {

constexpr int32_t kGradBiasWarps = kRowThreads / 32;

// A thread's vector, and its accumulators in shared memory: as 16-byte chunks, those of a warp side by side.
template <class Element, int32_t kVector>
struct GradBiasTypes {
  using Acc = Accumulator<Element>;
  static constexpr int32_t kChunk =
      kVector * int32_t{sizeof(Acc)} < kVectorBytes ? kVector : kVectorBytes / int32_t{sizeof(Acc)};
  static constexpr int32_t kChunks = kVector / kChunk;
  static constexpr int32_t kSharedBytes = kRowThreads * kVector * int32_t{sizeof(Acc)};
  using Vector = RowVector<Element, kVector>;
  struct alignas(kChunk * sizeof(Acc)) Chunk {
    Acc value[kChunk];
  };
};

// Adds up the threads of a block that hold the same columns, and stores the block's partial sums.
template <class Element, int32_t kVector>
__device__ __forceinline__ void reduce_columns(const GradBiasParams& params, Accumulator<Element>* sums,
                                               int64_t row_block, int32_t column) {
  using Types = GradBiasTypes<Element, kVector>;
  using Acc = typename Types::Acc;
  using Chunk = typename Types::Chunk;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int32_t distance = 16; distance >= params.threads_per_row; distance /= 2)
#pragma unroll
    for (int32_t i = 0; i < kVector; ++i) sums[i] += __shfl_xor_sync(~0u, sums[i], distance);

  Chunk* const shared = reinterpret_cast<Chunk*>(ptx::dynamic_smem());
#pragma unroll
  for (int32_t c = 0; c < Types::kChunks; ++c) {
    Chunk chunk;
#pragma unroll
    for (int32_t i = 0; i < Types::kChunk; ++i) chunk.value[i] = sums[c * Types::kChunk + i];
    ptx::store_shared(shared + (warp * Types::kChunks + c) * 32 + lane, chunk);
  }
  __syncthreads();
  if (warp > 0 || lane >= params.threads_per_row || column >= params.problem.filters) return;
  Acc* const to = static_cast<Acc*>(params.partial_sums) + row_block * params.problem.filters + column;
#pragma unroll
  for (int32_t c = 0; c < Types::kChunks; ++c) {
    Chunk total{};
#pragma unroll
    for (int32_t w = 0; w < kGradBiasWarps; ++w) {
      const Chunk chunk = ptx::load_shared(shared + (w * Types::kChunks + c) * 32 + lane);
#pragma unroll
      for (int32_t i = 0; i < Types::kChunk; ++i) total.value[i] += chunk.value[i];
    }
    ptx::store_global(reinterpret_cast<Chunk*>(to) + c, total);
  }
}

template <class Element, int32_t kVector>
__global__ void __launch_bounds__(kRowThreads, kRowBlocksPerMultiprocessor)
    grad_bias(const __grid_constant__ GradBiasParams params) {
  using Types = GradBiasTypes<Element, kVector>;
  using Vector = typename Types::Vector;
  const GradBiasProblem& problem = params.problem;
  const RowThread thread(params, problem.rows());
  const int32_t column = thread.column;

  typename Types::Acc sums[kVector] = {};
  if (column < problem.filters) {
    const int32_t window_channel = column / problem.filters_per_window();
    WrappedRow window_row(thread, problem.window_batch * problem.positions);
    for (int64_t row = thread.row; row < thread.end; row += int64_t{kRowUnroll} * thread.rows_at_once) {
      Vector values[kRowUnroll];
#pragma unroll
      for (int32_t i = 0; i < kRowUnroll; ++i) {  // all loads before the first sum
        const int64_t at = row + i * thread.rows_at_once;
        const int64_t window = *window_row * problem.window_channels + window_channel;
        const bool exists = at < thread.end;
        values[i] = Vector{};
        if (exists && (params.valid == nullptr || ptx::load_global(params.valid + window) != 0)) {
          const Element* from = static_cast<const Element*>(params.grad) + at * problem.filters + column;
          values[i] = ptx::load_global(reinterpret_cast<const Vector*>(from));
        }
        window_row.next();
      }
#pragma unroll
      for (int32_t i = 0; i < kRowUnroll; ++i)
#pragma unroll
        for (int32_t j = 0; j < kVector; ++j) sums[j] += to_accumulator(values[i].value[j]);
    }
  }
  reduce_columns<Element, kVector>(params, sums, thread.row_block, column);
}

// A lane adds up a column, each warp every eighth row of it.
template <class Element>
__global__ void __launch_bounds__(kRowThreads)
    sum_partial_grad_bias(const __grid_constant__ GradBiasParams params) {
  using Acc = Accumulator<Element>;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t filters = params.problem.filters;
  const int32_t column = blockIdx.x * 32 + lane;
  const Acc* const from = static_cast<const Acc*>(params.partial_sums) + column;
  Acc sum{0};
  if (column < filters)
#pragma unroll 4
    for (int64_t block = warp; block < params.row_blocks; block += kGradBiasWarps)
      sum += ptx::load_global(from + block * filters);
  Acc* const shared = reinterpret_cast<Acc*>(ptx::dynamic_smem());
  ptx::store_shared(shared + threadIdx.x, sum);
  __syncthreads();
  if (warp > 0 || column >= filters) return;
  Acc total{0};
#pragma unroll
  for (int32_t w = 0; w < kGradBiasWarps; ++w) total += ptx::load_shared(shared + w * 32 + lane);
  ptx::store_global(static_cast<Element*>(params.grad_bias) + column, from_accumulator<Element>(total));
}

}  // namespace maskconv
