#include "plan/row_order.h"

#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"

namespace maskconv {
namespace {

constexpr int32_t kKeyBits = 32;
constexpr int32_t kMaxClassBits = 16;  // of strides larger than any kernel some classes share a number

template <class Params, class Arguments>
RowKeyParams<Params> make_params(const Params& of_pass, const Arguments& arguments, uint32_t* keys,
                                 uint32_t* numbers) {
  return {of_pass, row_count(arguments), row_key_format(arguments), keys, numbers};
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

RowKeyFormat row_key_format(const ForwardArguments& arguments) {
  return row_key_format(arguments.problem.taps(), 1);
}

RowKeyFormat row_key_format(const GradInputArguments& arguments) {
  const int32_t (&stride)[kAxes] = arguments.problem.stride;
  return row_key_format(arguments.problem.taps(), int64_t{stride[0]} * stride[1] * stride[2]);
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

}  // namespace maskconv
