// maskconv_ext::forward on the CPU.
#include "cpu/direct.h"
#include "ops/convolve.h"
#include "ops/forward_call.h"
#include "ops/runtime.h"

namespace maskconv::ops {

namespace {

cpu::Strides strides_of(int64_t positions, int64_t channels, bool channels_last) {
  if (channels_last) return {positions * channels, channels, 1};
  return {positions * channels, 1, positions};
}

// The framework's convolution, or our own of planes where that is faster.
Tensor convolve_dense(const ConvProblem& problem, const ConvArguments& arguments, const Tensor& selected,
                      const Tensor& weight, const Sizes& output_size) {
  const DType dtype = dtype_of(selected);
  if (!cpu::prefers_direct(problem, dtype)) return convolve(selected, weight, arguments);
  const Tensor x = torch::stable::contiguous(selected), w = torch::stable::contiguous(weight);
  const Tensor output = empty_beside(selected, output_size, selected.scalar_type(), false);
  cpu::convolve_direct(cpu_runtime(), problem, dtype, x.data_ptr(), w.data_ptr(), output.data_ptr());
  return output;
}

// Select, convolve, finish: see cpu/engine.h.
Tensor forward_dense(const ForwardCall& call, const ConvArguments& arguments, const Tensor& input,
                     const Tensor& weight, bool channels_last, const std::vector<uint8_t>& valid,
                     cpu::ForwardOutput& out) {
  const ConvProblem& problem = call.problem;
  const DType dtype = dtype_of(input);
  Tensor selected = input;
  if (cpu::has_holes(problem, call.mask.view)) {
    const bool in_place = channels_to_last(input).is_contiguous();
    const Tensor x = in_place ? input : torch::stable::contiguous(input);
    selected = empty_beside(x, arguments.input_size, x.scalar_type(), in_place);
    const cpu::Strides strides = strides_of(problem.input_positions(), problem.channels, in_place);
    cpu::select(cpu_runtime(), problem, dtype, call.mask.view, x.data_ptr(), strides, selected.data_ptr());
  }
  Tensor output = convolve_dense(problem, arguments, selected, weight, call.output_size);
  if (channels_last) {
    output = channels_to_second(to_engine_layout(output));
  } else {
    output = torch::stable::contiguous(output);
  }
  out.y = output.data_ptr();
  cpu::finish(cpu_runtime(), problem, dtype, call.mask.view, call.bias_data(), valid, out);
  return output;
}

// "rows" computes the valid rows only, "dense" is the framework's convolution between two passes; by default,
// what is expected to be faster.
bool takes_dense_route(const std::string& candidate, const ConvProblem& problem, DType dtype,
                       const std::vector<uint8_t>& valid) {
  check_candidate(candidate, {"rows", "dense"});
  if (candidate.empty()) return cpu::prefers_dense(problem, dtype, valid);
  const bool dense = candidate == "dense";
  STD_TORCH_CHECK(!dense || dtype == DType::kFloat32 || dtype == DType::kFloat64,
                  "maskconv_ext: candidate: got 'dense', which computes in float32 and float64 only");
  return dense && problem.rows() > 0;
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
  call.lay_out_weight_sum(channels_last);
  const ConvProblem& problem = call.problem;
  const DType dtype = dtype_of(input);
  const cpu::Runtime runtime = cpu_runtime();

  cpu::ForwardOutput out;
  out.strides = strides_of(problem.output_positions(), problem.filters, channels_last);
  out.window_sum = call.window_sum.data_ptr();
  out.out_mask = call.out_mask.data_ptr();
  out.out_mask_element = call.out_mask_element();
  out.weight_sum = call.weight_sum_data();
  const std::vector<uint8_t> valid = cpu::compute_window(runtime, problem, dtype, call.mask.view, out);

  Tensor output;
  if (takes_dense_route(candidate, problem, dtype, valid)) {
    output = forward_dense(call, arguments, input, weight, channels_last, valid, out);
  } else {
    output = empty_beside(input, call.output_size, input.scalar_type(), channels_last);
    out.y = output.data_ptr();
    const Tensor x = to_engine_layout(input), w = to_engine_layout(weight);
    cpu::forward(runtime, problem, dtype, call.mask.view, x.data_ptr(), w.data_ptr(), call.bias_data(), valid,
                 out);
  }
  return {output, call.public_out_mask(mask), call.public_window(call.window_sum)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CPU, library) { library.impl("forward", TORCH_BOX(&forward_cpu)); }

}  // namespace maskconv::ops
