#include "ops/tensors.h"

#include <algorithm>

#include "cpu/transpose.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

// A copy in the other layout, as the framework's own copies give it, several times as fast.
Tensor transposed(const Tensor& tensor, bool to_channels_last) {
  const Sizes sizes = sizes_of(tensor);
  const Tensor result = empty_beside(tensor, sizes, tensor.scalar_type(), to_channels_last);
  const int64_t batch = sizes[0], channels = sizes[1];
  const int64_t positions = tensor.numel() / std::max<int64_t>(batch * channels, 1);
  cpu::transpose(cpu_runtime(), batch, to_channels_last ? channels : positions,
                 to_channels_last ? positions : channels, int64_t(tensor.element_size()), tensor.data_ptr(),
                 result.data_ptr());
  return result;
}

}  // namespace

Tensor to_contiguous(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  return tensor.is_cpu() && tensor.dim() > 2 && is_channels_last(tensor) ? transposed(tensor, false)
                                                                         : torch::stable::contiguous(tensor);
}

Tensor to_engine_layout(const Tensor& tensor) {
  if (is_channels_last(tensor)) return tensor;
  if (tensor.is_cpu() && tensor.is_contiguous()) return transposed(tensor, true);
  return channels_to_second(torch::stable::contiguous(channels_to_last(tensor)));
}

}  // namespace maskconv::ops
