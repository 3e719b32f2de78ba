// The row order of a launch on CUDA: plan/row_order.h says what it is.
#pragma once

#include "ops/tensors.h"
#include "plan/row_order.h"

namespace maskconv::ops {

// The caller's order, its shape and type checked; what is in it only the device knows. It is trusted to be a
// permutation: of another some rows are not written, but the kernels touch no memory that is no row's.
// Without one an order built here where that is expected to pay for `chosen`, else none. An order is int32
// (rows) that stand for uint32; `like` says on what device.
std::optional<Tensor> choose_row_order(const ForwardArguments& arguments, const Candidate& chosen,
                                       const std::optional<Tensor>& given, const Tensor& like);
std::optional<Tensor> choose_row_order(const GradInputArguments& arguments, const Candidate& chosen,
                                       const std::optional<Tensor>& given, const Tensor& like);

inline const uint32_t* row_order_data(const std::optional<Tensor>& order) {
  return order ? static_cast<const uint32_t*>(order->data_ptr()) : nullptr;
}

}  // namespace maskconv::ops
