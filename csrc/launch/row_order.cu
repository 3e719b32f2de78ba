#include <cuda_runtime_api.h>

#include <cub/device/device_radix_sort.cuh>

#include "kernels/forward.cuh"
#include "kernels/grad_input.cuh"
#include "kernels/row_keys.cuh"
#include "launch/device.h"
#include "launch/row_order.h"

namespace maskconv {
namespace {

template <class Pass>
void launch_keys(const RowKeyParams<typename Pass::Params>& params, void* cuda_stream) {
  if (params.blocks() == 0) return;
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  row_keys<Pass><<<static_cast<unsigned>(params.blocks()), kRowKeyThreads, 0, stream>>>(params);
  check_cuda(cudaGetLastError(), "launching the keys of the row order");
}

using Buffers = cub::DoubleBuffer<uint32_t>;

// With two buffers of each CUB needs no copies of its own. Without a workspace it says how large one must be.
void sort(const RowSort& sort, size_t& bytes, Buffers& keys, Buffers& numbers, void* cuda_stream) {
  const cudaError_t error = cub::DeviceRadixSort::SortPairsDescending(
      sort.workspace, bytes, keys, numbers, static_cast<uint32_t>(sort.rows), 0, sort.key_bits,
      static_cast<cudaStream_t>(cuda_stream));
  check_cuda(error, "sorting the row order");
}

}  // namespace

void launch_row_keys(const RowKeyParams<ForwardParams>& params, void* cuda_stream) {
  launch_keys<Forward>(params, cuda_stream);
}

void launch_row_keys(const RowKeyParams<GradInputParams>& params, void* cuda_stream) {
  launch_keys<GradInput>(params, cuda_stream);
}

int64_t row_sort_workspace_bytes(const RowSort& row_sort) {
  RowSort empty = row_sort;
  empty.workspace = nullptr;
  size_t bytes = 0;
  Buffers keys, numbers;
  sort(empty, bytes, keys, numbers, nullptr);
  return static_cast<int64_t>(bytes);
}

int launch_row_sort(const RowSort& row_sort, void* cuda_stream) {
  size_t bytes = static_cast<size_t>(row_sort.workspace_bytes);
  Buffers keys(row_sort.keys[0], row_sort.keys[1]), numbers(row_sort.numbers[0], row_sort.numbers[1]);
  sort(row_sort, bytes, keys, numbers, cuda_stream);
  return numbers.selector;
}

}  // namespace maskconv
