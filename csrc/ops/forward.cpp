// maskconv_ext::forward on the CPU.
#include "cpu/direct.h"
#include "cpu/route.h"
#include "ops/convolve.h"
#include "ops/forward_call.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

// Without holes: see cpu/engine.h.
Tensor forward_dense(const ForwardCall& call, const cpu::MaskView& mask, const ConvArguments& arguments,
                     const Tensor& input, const Tensor& weight, bool channels_last,
                     const std::vector<uint8_t>& valid, cpu::ForwardOutput& out) {
  const ConvProblem& problem = call.problem;
  const auto* bias = static_cast<const float*>(call.bias_data());
  const double interior = cpu::interior_scale(problem, mask);
  Tensor scaled_weight = weight;
  if (interior != 1) {
    const Tensor from = to_engine_layout(weight);
    scaled_weight = empty_beside(weight, arguments.weight_size, weight.scalar_type(), true);
    auto* to = static_cast<float*>(scaled_weight.data_ptr());
    for (int64_t i = 0; i < from.numel(); ++i)
      to[i] = static_cast<float>(interior * static_cast<const float*>(from.data_ptr())[i]);
  }
  const cpu::Border border = cpu::find_border(problem, mask, valid, out.window_sum, true, bias);
  Tensor output = convolve(input, scaled_weight, border.bias_inside ? call.bias : std::nullopt, arguments);
  if (channels_last) {
    output = to_engine_layout(output);
  } else {
    output = to_contiguous(output);
  }
  out.y = output.data_ptr();
  cpu::finish_border(cpu_runtime(), problem, border, bias, out);
  return output;
}

// See cpu/direct.h.
Tensor forward_direct(const ForwardCall& call, const cpu::MaskView& mask, const Tensor& input,
                      const Tensor& weight, bool channels_last, const std::vector<uint8_t>& valid,
                      cpu::ForwardOutput& out) {
  const Tensor x = to_contiguous(input), w = to_contiguous(weight);
  const Tensor output = empty_beside(input, call.output_size, input.scalar_type(), false);
  out.y = output.data_ptr();
  cpu::forward_direct(cpu_runtime(), call.problem, dtype_of(input), mask, x.data_ptr(), w.data_ptr(),
                      call.bias_data(), valid, out);
  return channels_last ? to_engine_layout(output) : output;
}

cpu::Route choose_route(const std::string& candidate, const ForwardCall& call, DType dtype,
                        const cpu::MaskView& mask, bool channels_last) {
  check_candidate(candidate, {"rows", "dense", "direct"});
  const ConvProblem& problem = call.problem;
  const bool weight_sums = call.weight_sum.has_value();
  if (candidate.empty()) return cpu::expected_route(problem, dtype, mask, weight_sums, channels_last);
  STD_TORCH_CHECK(candidate != "dense" || cpu::can_dense(problem, dtype, mask, weight_sums),
                  "maskconv_ext: candidate: got 'dense', which computes float32 without holes only");
  STD_TORCH_CHECK(candidate != "direct" || cpu::can_direct(problem, dtype, mask),
                  "maskconv_ext: candidate: got 'direct', which computes float32 and float64 with stride 1 "
                  "along the last axis and a mask shared by all channels");
  return candidate == "dense"    ? cpu::Route::kDense
         : candidate == "direct" ? cpu::Route::kDirect
                                 : cpu::Route::kRows;
}

std::tuple<Tensor, Tensor, Tensor> forward_cpu(
    Tensor input, std::optional<Tensor> mask, Tensor weight, std::optional<Tensor> bias, Sizes stride,
    Sizes padding, Sizes dilation, int64_t groups, Sizes mask_channels, std::string normalization,
    std::string mask_update, double threshold, std::optional<double> fill, bool pad_is_valid,
    bool channels_last, bool allow_tf32, std::optional<Tensor> row_order,
    std::optional<Tensor> grad_input_row_order, std::optional<Tensor> weight_sum, std::string candidate) {
  check_no_row_order(row_order);
  check_no_row_order(grad_input_row_order);
  const ConvArguments arguments{sizes_of(input), sizes_of(weight), stride,    padding,
                                dilation,        groups,           allow_tf32};
  ForwardCall call(input, mask, weight, bias, arguments, mask_channels, normalization, mask_update, threshold,
                   fill, pad_is_valid, weight_sum);
  const ConvProblem& problem = call.problem;
  const DType dtype = dtype_of(input);
  const cpu::Runtime runtime = cpu_runtime();

  cpu::ForwardOutput out;
  out.window_sum = call.window_sum.data_ptr();
  out.out_mask = call.out_mask.data_ptr();
  out.out_mask_element = call.out_mask_element();
  cpu::MaskView mask_view = call.mask.view;
  if (!cpu::has_holes(problem, mask_view)) mask_view.kind = cpu::MaskKind::kNone;
  const std::vector<uint8_t> valid = cpu::compute_window(runtime, problem, dtype, mask_view, out);
  const cpu::Route route = choose_route(candidate, call, dtype, mask_view, channels_last);
  const bool in_planes = route == cpu::Route::kDirect || !channels_last;
  call.lay_out_weight_sum(!in_planes);
  out.weight_sum = call.weight_sum_data();
  out.strides = strides_of(problem.output_positions(), problem.filters, !in_planes);

  Tensor output;
  if (route == cpu::Route::kDirect) {
    output = forward_direct(call, mask_view, input, weight, channels_last, valid, out);
  } else if (route == cpu::Route::kDense) {
    output = forward_dense(call, mask_view, arguments, input, weight, channels_last, valid, out);
  } else {
    output = empty_beside(input, call.output_size, input.scalar_type(), channels_last);
    out.y = output.data_ptr();
    const Tensor x = to_engine_layout(input), w = to_engine_layout(weight);
    cpu::forward(runtime, problem, dtype, mask_view, x.data_ptr(), w.data_ptr(), call.bias_data(), valid,
                 out);
  }
  return {output, call.public_out_mask(mask), call.window_sum};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) { library.impl("forward", TORCH_BOX(&forward_cpu)); }

}  // namespace maskconv::ops
