#include "plan/row_order.h"

#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"

namespace maskconv {
namespace {

constexpr int32_t kKeyBits = 32;
constexpr int32_t kMaxClassBits = 16;  // of strides larger than any kernel some classes share a number

// What sorting costs, in microseconds. A launch by itself takes the device about 5 from end to end when it
// has little to do, as these have. Radix sort moves key and row number in and out for each 8 bits of the key
// (16 bytes a row), having read the keys once (4) that were written with the numbers (8), at what streaming
// kernels reach on a large GPU.
constexpr double kLaunchMicroseconds = 5;
constexpr int32_t kFixedLaunches = 3;  // keys, histogram, its running sums
constexpr int32_t kBitsPerPass = 8;
constexpr double kBytesPerPass = 16;
constexpr double kFixedBytes = 12;
constexpr double kBytesPerMicrosecond = 3e6;

// What the dense layer costs: 60 % of the peak of an H100, which makes the layer rather too short than too
// long, and so the order too dear.
constexpr double kTensorFlopsPerMicrosecond = 0.6 * 790e6;
constexpr double kSingleFlopsPerMicrosecond = 0.6 * 67e6;
constexpr double kDoubleFlopsPerMicrosecond = 0.6 * 33e6;
constexpr double kLargestShare = 0.05;

double sort_microseconds(int64_t rows, const RowKeyFormat& format) {
  const int32_t passes = (format.bits + kBitsPerPass - 1) / kBitsPerPass;
  const double bytes = static_cast<double>(rows) * (kFixedBytes + kBytesPerPass * passes);
  return kLaunchMicroseconds * (kFixedLaunches + passes) + bytes / kBytesPerMicrosecond;
}

double dense_microseconds(const ConvProblem& problem, DType dtype, GemmKernel kernel) {
  const double flops = 2.0 * static_cast<double>(problem.rows()) * problem.filters *
                       problem.channels_per_group() * problem.taps();
  if (kernel == GemmKernel::kMma) return flops / kTensorFlopsPerMicrosecond;
  return flops / (dtype == DType::kFloat64 ? kDoubleFlopsPerMicrosecond : kSingleFlopsPerMicrosecond);
}

// What differs between the passes.
RowKeyFormat format_of(const ForwardArguments& arguments) {
  return row_key_format(arguments.problem.taps(), 1);
}
RowKeyFormat format_of(const GradInputArguments& arguments) {
  const int32_t (&stride)[kAxes] = arguments.problem.stride;
  return row_key_format(arguments.problem.taps(), int64_t{stride[0]} * stride[1] * stride[2]);
}

GemmShape shape_of(const ForwardArguments& arguments) { return forward_shape(arguments.problem); }
GemmShape shape_of(const GradInputArguments& arguments) { return grad_input_shape(arguments.problem, true); }

template <class Params, class Arguments>
RowKeyParams<Params> make_params(const Params& of_pass, const Arguments& arguments, uint32_t* keys,
                                 uint32_t* numbers) {
  return {of_pass, row_count(arguments), format_of(arguments), keys, numbers};
}

template <class Arguments>
bool expects_to_pay(const Arguments& arguments, const DeviceProperties& device) {
  const ConvProblem& problem = arguments.problem;
  const int64_t rows = row_count(arguments);
  if (problem.mask_batch == 0 || problem.taps() == 1 || !why_not_row_order(rows).empty()) return false;
  const GemmConfig config =
      choose_config(problem, shape_of(arguments), arguments.dtype, operands_aligned(arguments), device);
  return sort_microseconds(rows, format_of(arguments)) <=
         kLargestShare * dense_microseconds(problem, arguments.dtype, config.kernel);
}

}  // namespace

RowKeyFormat row_key_format(int32_t taps, int64_t classes) {
  int32_t class_bits = 0;
  while (class_bits < kMaxClassBits && int64_t{1} << class_bits < classes) ++class_bits;
  RowKeyFormat format;
  while (((taps - 1) >> format.tap_shift) + 1 > kKeyBits - class_bits) ++format.tap_shift;
  format.tap_bits = ((taps - 1) >> format.tap_shift) + 1;
  format.bits = class_bits + format.tap_bits;
  return format;
}

int64_t row_count(const ForwardArguments& arguments) { return arguments.problem.rows(); }

int64_t row_count(const GradInputArguments& arguments) {
  return arguments.problem.batch * arguments.problem.input_positions();
}

RowKeyParams<ForwardParams> make_row_key_params(const ForwardArguments& arguments, uint32_t* keys,
                                                uint32_t* numbers) {
  return make_params(make_forward_params(arguments, simt_config(arguments.dtype)), arguments, keys, numbers);
}

RowKeyParams<GradInputParams> make_row_key_params(const GradInputArguments& arguments, uint32_t* keys,
                                                  uint32_t* numbers) {
  return make_params(make_grad_input_params(arguments, simt_config(arguments.dtype)), arguments, keys,
                     numbers);
}

std::string why_not_row_order(int64_t rows) {
  if (rows <= kMaxOrderedRows) return {};
  return "there are " + std::to_string(rows) + " rows; an order counts them in 32 bits";
}

bool expects_row_order_to_pay(const ForwardArguments& arguments, const DeviceProperties& device) {
  return expects_to_pay(arguments, device);
}

bool expects_row_order_to_pay(const GradInputArguments& arguments, const DeviceProperties& device) {
  return expects_to_pay(arguments, device);
}

}  // namespace maskconv
