#include "plan/depthwise.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace maskconv {
namespace depthwise {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

// Forward, neighbouring outputs are stride apart in the input, and neighbouring taps dilation: both come to
// their least common multiple. For grad_input it is the outputs that are counted, stride to an input.
Slide make_slide(const ConvProblem& problem, const int32_t (&result)[kAxes], bool of_grad_input) {
  const int32_t stride = problem.stride[2], dilation = problem.dilation[2], kernel = problem.kernel[2];
  const int32_t common = std::gcd(stride, dilation);
  Slide slide;
  slide.tap_step = stride / common;
  slide.row_step = of_grad_input ? stride / common * dilation : dilation / common;
  slide.source_step = of_grad_input ? dilation / common : stride / common * dilation;
  slide.strips_of_residue = ceil_div(ceil_div(kernel, slide.tap_step), kStripTaps);
  slide.strips_of_line = std::min(slide.tap_step, kernel) * slide.strips_of_residue;
  slide.strips = problem.kernel[0] * problem.kernel[1] * slide.strips_of_line;
  slide.runs_of_class = ceil_div(ceil_div(result[2], slide.row_step), kRunRows);
  slide.runs_of_line = std::min(slide.row_step, result[2]) * slide.runs_of_class;
  slide.runs = problem.batch * result[0] * result[1] * slide.runs_of_line;
  return slide;
}

Shape make_shape(const ConvProblem& problem, const Slide& slide, DType dtype, bool aligned) {
  Shape shape{slide};
  const int32_t widest = widest_vector(dtype);
  shape.vector = aligned && problem.channels % widest == 0 ? widest : 1;
  const int32_t vectors = problem.channels / shape.vector;
  shape.column_blocks = ceil_div(vectors, kMaxVectors);
  shape.vectors_of_block = shape.column_blocks > 0 ? ceil_div(vectors, shape.column_blocks) : 1;
  shape.runs_of_block = std::min(kThreads / shape.vectors_of_block, kMaxRuns);
  return shape;
}

}  // namespace

Shape forward_shape(const ConvProblem& problem, DType dtype, bool aligned) {
  return make_shape(problem, make_slide(problem, problem.output, false), dtype, aligned);
}

void set_pitches(GemmParams& params) {
  params.depth = 1;
  params.columns = 1;
  params.source_pitch = params.problem.channels;
  params.result_pitch = params.problem.channels;
}

}  // namespace depthwise

std::string why_not_depthwise(const ConvProblem& problem) {
  if (problem.channels_per_group() != 1 || problem.filters_per_group() != 1)
    return "the depthwise kernel needs one channel and one filter a group, got " +
           std::to_string(problem.channels_per_group()) + " and " +
           std::to_string(problem.filters_per_group());
  if (problem.taps() > kMaxTaps)
    return "the kernel has " + std::to_string(problem.taps()) + " taps; the CUDA kernel takes at most " +
           std::to_string(kMaxTaps);
  const int64_t step = std::lcm(int64_t{problem.stride[2]}, int64_t{problem.dilation[2]});
  const int64_t phases = int64_t{problem.stride[0]} * problem.stride[1];
  if (step > depthwise::kMaxInt || phases > depthwise::kMaxInt ||
      phases * problem.stride[2] > depthwise::kMaxInt)
    return "the strides or the dilation are too large for the depthwise kernel to count in 32 bits";
  const std::string too_far = why_not_reach(problem);
  if (!too_far.empty()) return too_far;
  for (const bool of_grad_input : {false, true}) {
    const auto& result = of_grad_input ? problem.input : problem.output;
    const auto shape = depthwise::make_shape(problem, depthwise::make_slide(problem, result, of_grad_input),
                                             DType::kFloat64, false);
    if (shape.blocks() > depthwise::kMaxInt)
      return std::string(of_grad_input ? "the input" : "the output") + " has " +
             std::to_string(problem.batch * result[0] * result[1] * result[2]) + " positions x " +
             std::to_string(problem.channels) + " channels: more tiles than one launch can carry";
  }
  return {};
}

Work depthwise_work(const ConvProblem& problem, DType dtype) {
  const auto slide = depthwise::make_slide(problem, problem.output, false);
  const double positions = static_cast<double>(problem.batch * problem.input_positions() + problem.rows());
  const double rows = static_cast<double>(slide.runs) * depthwise::kRunRows;  // those beyond a line's end too
  return {positions * problem.channels * element_bytes(dtype), rows * problem.channels * problem.taps()};
}

depthwise::Params<ForwardParams> make_depthwise_params(const ForwardArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  const bool aligned =
      is_aligned(arguments.input) && is_aligned(arguments.output) && is_aligned(arguments.weight_sum);
  depthwise::Params<ForwardParams> params{forward_params(arguments),
                                          depthwise::forward_shape(problem, arguments.dtype, aligned)};
  depthwise::set_pitches(params);
  return params;
}

depthwise::Params<GradInputParams> make_depthwise_params(const GradInputArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  const bool aligned = is_aligned(arguments.gradient.grad) && is_aligned(arguments.grad_input);
  const auto slide = depthwise::make_slide(problem, problem.input, true);
  depthwise::Params<GradInputParams> params{grad_input_params(arguments),
                                            depthwise::make_shape(problem, slide, arguments.dtype, aligned)};
  depthwise::set_pitches(params);
  return params;
}

}  // namespace maskconv
