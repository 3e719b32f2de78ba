#include "plan/row_order.h"

#include "plan/cost.h"
#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"

namespace maskconv {
namespace {

constexpr int32_t kKeyBits = 32;
constexpr int32_t kMaxClassBits = 16;  // of strides larger than any kernel some classes share a number

constexpr double kLargestShare = 0.05;  // of the layer's time

// Bytes a row that the launches of the sort move: keys and numbers are written, a histogram reads the keys,
// and for each digit of the key CUB's radix sort moves key and number in and out. Its sum over the histogram
// moves next to nothing.
constexpr double kBytesOfKeys = 8;
constexpr double kBytesOfHistogram = 4;
constexpr double kBytesOfPass = 16;
constexpr int32_t kBitsOfDigit = 8;

double sort_microseconds(int64_t rows, const RowKeyFormat& format, const DeviceProperties& device) {
  const auto launch = [&](double bytes) {
    return memory_cost(bytes * static_cast<double>(rows), device).microseconds();
  };
  const int32_t passes = (format.bits + kBitsOfDigit - 1) / kBitsOfDigit;
  return launch(kBytesOfKeys) + launch(kBytesOfHistogram) + launch(0) + passes * launch(kBytesOfPass);
}

// What differs between the passes.
RowKeyFormat format_of(const ForwardArguments& arguments) {
  return row_key_format(arguments.problem.taps(), 1);
}
RowKeyFormat format_of(const GradInputArguments& arguments) {
  const int32_t (&stride)[kAxes] = arguments.problem.stride;
  return row_key_format(arguments.problem.taps(), int64_t{stride[0]} * stride[1] * stride[2]);
}

// In raster order, with which the order is compared.
GemmShape shape_of(const ForwardArguments& arguments) { return forward_shape(arguments.problem); }
GemmShape shape_of(const GradInputArguments& arguments) { return grad_input_shape(arguments.problem); }

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
  const GemmShape shape = shape_of(arguments);
  const GemmConfig config =
      choose_config(problem, shape, arguments.dtype, operands_aligned(arguments), device);
  return sort_microseconds(rows, format_of(arguments), device) <=
         kLargestShare * gemm_cost(config, problem, shape, arguments.dtype, device).microseconds();
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
