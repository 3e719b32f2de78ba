// maskconv_ext::forward_row_order and maskconv_ext::grad_input_row_order: CUDA only, for no other engine has
// tiles of rows.
#ifdef MASKCONV_WITH_CUDA

#include "ops/row_order.h"

#include "launch/device.h"
#include "launch/row_order.h"
#include "ops/arguments.h"
#include "ops/cuda_stream.h"

namespace maskconv::ops {

namespace {

template <class Arguments>
Tensor build(const Arguments& arguments, const Tensor& like) {
  const int64_t rows = row_count(arguments);
  const std::string why_not = why_not_row_order(rows);
  STD_TORCH_CHECK(why_not.empty(), "maskconv_ext: row_order: ", why_not);
  const Tensor keys = torch::stable::new_empty(like, {2, rows}, ScalarType::Int);
  const Tensor numbers[2] = {torch::stable::new_empty(like, {rows}, ScalarType::Int),
                             torch::stable::new_empty(like, {rows}, ScalarType::Int)};
  if (rows == 0) return numbers[0];
  RowSort sort;
  sort.rows = rows;
  for (int i = 0; i < 2; ++i) {
    sort.keys[i] = static_cast<uint32_t*>(keys.data_ptr()) + i * rows;
    sort.numbers[i] = static_cast<uint32_t*>(numbers[i].data_ptr());
  }
  const auto params = make_row_key_params(arguments, sort.keys[0], sort.numbers[0]);
  sort.key_bits = params.format.bits;
  sort.workspace_bytes = row_sort_workspace_bytes(sort);
  const Tensor workspace = torch::stable::new_empty(like, {sort.workspace_bytes}, ScalarType::Byte);
  sort.workspace = workspace.data_ptr();
  // What is freed here the allocator hands to later work of the same stream only.
  launch_row_keys(params, current_stream(like));
  return numbers[launch_row_sort(sort, current_stream(like))];
}

template <class Arguments>
std::optional<Tensor> choose(const Arguments& arguments, const Candidate& chosen,
                             const std::optional<Tensor>& given, const Tensor& like) {
  if (!given) {
    if (!expects_row_order_to_pay(arguments, chosen, current_device_properties())) return {};
    return build(arguments, like);
  }
  check_device(*given, like, "row_order");
  STD_TORCH_CHECK(given->scalar_type() == ScalarType::Int && given->dim() == 1 && given->is_contiguous(),
                  "maskconv_ext: row_order: needs a contiguous vector of int32");
  STD_TORCH_CHECK(given->numel() == row_count(arguments), "maskconv_ext: row_order: got ", given->numel(),
                  " rows, needs ", row_count(arguments));
  return given;
}

// The geometry of any layer with this mask, and the mask (N or 1, 1, *S) as the kernels read it.
struct MaskedGeometry {
  MaskedGeometry(const Tensor& mask, int64_t batch, const Sizes& kernel_size, const Sizes& stride,
                 const Sizes& padding, const Sizes& dilation) {
    STD_TORCH_CHECK(mask.dim() >= 3 && mask.dim() <= 2 + kAxes && mask.size(1) == 1 &&
                        (mask.size(0) == 1 || mask.size(0) == batch) &&
                        (mask.scalar_type() == ScalarType::Bool || mask.scalar_type() == ScalarType::Byte),
                    "maskconv_ext: mask: needs bool or uint8, (batch or 1, 1, *S)");
    arguments = {sizes_of(mask), {1, 1}, stride, padding, dilation, 1, false};
    arguments.input_size[0] = batch;
    arguments.weight_size.insert(arguments.weight_size.end(), kernel_size.begin(), kernel_size.end());
    problem = make_problem(arguments);
    problem.mask_batch = mask.size(0) == 1 ? 1 : batch;
    stored = to_engine_layout(mask);
  }

  const uint8_t* mask() const { return static_cast<const uint8_t*>(stored.data_ptr()); }

  ConvArguments arguments;
  ConvProblem problem;
  Tensor stored;
};

Tensor forward_row_order(Tensor mask, int64_t batch, Sizes kernel_size, Sizes stride, Sizes padding,
                         Sizes dilation, std::string mask_update, double threshold, bool pad_is_valid) {
  const torch::stable::accelerator::DeviceGuard guard(mask.get_device_index());
  const MaskedGeometry geometry(mask, batch, kernel_size, stride, padding, dilation);
  ForwardArguments arguments;
  arguments.problem = geometry.problem;
  arguments.problem.mask_update = parse_mask_update(mask_update);
  arguments.problem.threshold = threshold;
  arguments.problem.pad_is_valid = pad_is_valid;
  arguments.mask = geometry.mask();
  return build(arguments, mask);
}

Tensor grad_input_row_order(Tensor valid, Tensor mask, int64_t batch, Sizes kernel_size, Sizes stride,
                            Sizes padding, Sizes dilation) {
  const torch::stable::accelerator::DeviceGuard guard(mask.get_device_index());
  const MaskedGeometry geometry(mask, batch, kernel_size, stride, padding, dilation);
  check_device(valid, mask, "valid");
  Sizes window = output_size(geometry.arguments);
  window[0] = mask.size(0);
  STD_TORCH_CHECK(valid.scalar_type() == ScalarType::Bool && sizes_of(valid) == window,
                  "maskconv_ext: valid: needs bool, in the shape of the window sum");
  const Tensor stored_valid = to_engine_layout(valid);
  GradInputArguments arguments;
  arguments.problem = geometry.problem;
  arguments.mask = geometry.mask();
  arguments.gradient.valid = static_cast<const uint8_t*>(stored_valid.data_ptr());
  return build(arguments, mask);
}

}  // namespace

std::optional<Tensor> choose_row_order(const ForwardArguments& arguments, const Candidate& chosen,
                                       const std::optional<Tensor>& given, const Tensor& like) {
  return choose(arguments, chosen, given, like);
}
std::optional<Tensor> choose_row_order(const GradInputArguments& arguments, const Candidate& chosen,
                                       const std::optional<Tensor>& given, const Tensor& like) {
  return choose(arguments, chosen, given, like);
}

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CUDA, library) {
  library.impl("forward_row_order", TORCH_BOX(&forward_row_order));
  library.impl("grad_input_row_order", TORCH_BOX(&grad_input_row_order));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
