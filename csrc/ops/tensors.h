// Small helpers over torch's stable ABI: the few framework calls the bindings make, and layout changes.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "plan/dtype.h"
#include "plan/gemm_planner.h"

namespace maskconv::ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Sizes = std::vector<int64_t>;

// Calls an ATen operator by name; it returns one tensor.
template <typename... Args>
Tensor call_aten(const char* name, const char* overload, const Args&... args) {
  std::array<StableIValue, sizeof...(Args)> stack{torch::stable::detail::from(args)...};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, overload, stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline Sizes sizes_of(const Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

// The operators run where their first tensor is.
inline void check_device(const Tensor& tensor, const Tensor& first, const char* name) {
  const auto here = first.device(), there = tensor.device();
  STD_TORCH_CHECK(there.type() == here.type() && there.index() == here.index(), "maskconv_ext: ", name,
                  ": is on another device than the first tensor, needs the same");
}

// (N, C, *S) seen as (N, *S, C); no copy.
inline Tensor channels_to_last(const Tensor& tensor) {
  Sizes order{0};
  for (int64_t axis = 2; axis < tensor.dim(); ++axis) order.push_back(axis);
  order.push_back(1);
  return call_aten("aten::permute", "", tensor, order);
}

// (N, *S, C) seen as (N, C, *S); no copy.
inline Tensor channels_to_second(const Tensor& tensor) {
  Sizes order{0, tensor.dim() - 1};
  for (int64_t axis = 1; axis < tensor.dim() - 1; ++axis) order.push_back(axis);
  return call_aten("aten::permute", "", tensor, order);
}

// Whether the memory is (N, *S, C) without gaps. Asked of strides, as is what follows: a call of the
// framework costs microseconds, and small convolutions take no more than that.
inline bool is_channels_last(const Tensor& tensor) {
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  const auto rank = static_cast<int64_t>(sizes.size());
  int64_t stride = 1;
  for (int64_t place = 0; place < rank; ++place) {
    const int64_t axis = place == 0 ? 1 : place + 1 == rank ? 0 : rank - place;
    if (sizes[axis] != 1 && strides[axis] != stride) return tensor.numel() == 0;
    stride *= sizes[axis];
  }
  return true;
}

// (N, C, *S) whose memory is in that order.
Tensor to_contiguous(const Tensor& tensor);

// The layout every engine works on: (N, C, *S) whose memory is (N, *S, C).
Tensor to_engine_layout(const Tensor& tensor);

// Whether what the engines read, the tensor or its copy in their layout, starts where 16 bytes can be loaded.
inline bool is_read_aligned(const Tensor& tensor) {
  return is_aligned(tensor.data_ptr()) || !is_channels_last(tensor);
}

// An uninitialised (N, C, *S) tensor beside `like`; its memory is (N, *S, C) if channels_last.
inline Tensor empty_beside(const Tensor& like, const Sizes& sizes, ScalarType dtype, bool channels_last) {
  if (!channels_last) return torch::stable::new_empty(like, sizes, dtype);
  Sizes stored{sizes[0]};
  stored.insert(stored.end(), sizes.begin() + 2, sizes.end());
  stored.push_back(sizes[1]);
  return channels_to_second(torch::stable::new_empty(like, stored, dtype));
}

inline DType dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return DType::kFloat32;
    case ScalarType::Double:
      return DType::kFloat64;
    case ScalarType::BFloat16:
      return DType::kBFloat16;
    case ScalarType::Half:
      return DType::kFloat16;
    default:
      STD_TORCH_CHECK(false, "maskconv_ext: input: needs float16, bfloat16, float32 or float64");
  }
}

}  // namespace maskconv::ops
