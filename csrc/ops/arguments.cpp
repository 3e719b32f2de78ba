#include "ops/arguments.h"

#include <limits>

namespace maskconv::ops {

namespace {

int32_t to_int32(int64_t value, const char* what) {
  STD_TORCH_CHECK(value >= 0 && value <= std::numeric_limits<int32_t>::max(), "maskconv_ext: ", what,
                  ": got ", value, ", needs a value that fits in 31 bits");
  return static_cast<int32_t>(value);
}

int64_t output_extent(const ConvArguments& arguments, size_t axis) {
  const int64_t padded =
      arguments.input_size[axis + 2] + arguments.padding[2 * axis] + arguments.padding[2 * axis + 1];
  const int64_t window = arguments.dilation[axis] * (arguments.weight_size[axis + 2] - 1) + 1;
  STD_TORCH_CHECK(padded >= window, "maskconv_ext: weight: got a window of ", window, ", needs at most ",
                  padded, ", the padded input size");
  return (padded - window) / arguments.stride[axis] + 1;
}

void check_shapes(const ConvArguments& arguments) {
  const auto& [input, weight, stride, padding, dilation, groups, allow_tf32] = arguments;
  const size_t rank = input.size() - 2;
  STD_TORCH_CHECK(input.size() >= 3 && input.size() <= 2 + kAxes, "maskconv_ext: input: got ", input.size(),
                  " dimensions, needs 3, 4 or 5");
  STD_TORCH_CHECK(weight.size() == input.size(), "maskconv_ext: weight: got ", weight.size(),
                  " dimensions, needs ", input.size());
  STD_TORCH_CHECK(stride.size() == rank && dilation.size() == rank && padding.size() == 2 * rank,
                  "maskconv_ext: stride, dilation: need one entry an axis, padding two");
  STD_TORCH_CHECK(groups >= 1 && input[1] == weight[1] * groups && weight[0] % groups == 0,
                  "maskconv_ext: groups: got ", groups, " for ", input[1], " channels, weight (", weight[0],
                  ", ", weight[1], ", ...)");
  STD_TORCH_CHECK(input[1] >= 1 && weight[0] >= 1, "maskconv_ext: input, weight: got ", input[1],
                  " channels and ", weight[0], " filters, needs at least one of each");
  for (size_t axis = 0; axis < rank; ++axis) {
    STD_TORCH_CHECK(input[axis + 2] >= 1, "maskconv_ext: input: got size 0 on axis ", axis,
                    ", needs at least 1");
    STD_TORCH_CHECK(stride[axis] >= 1 && dilation[axis] >= 1 && weight[axis + 2] >= 1 &&
                        padding[2 * axis] >= 0 && padding[2 * axis + 1] >= 0,
                    "maskconv_ext: stride, dilation, weight, padding: out of range on axis ", axis);
  }
}

}  // namespace

ConvProblem make_problem(const ConvArguments& arguments) {
  check_shapes(arguments);
  ConvProblem problem;
  problem.batch = arguments.input_size[0];
  problem.channels = to_int32(arguments.input_size[1], "input");
  problem.filters = to_int32(arguments.weight_size[0], "weight");
  problem.groups = to_int32(arguments.groups, "groups");
  problem.allow_tf32 = arguments.allow_tf32;
  const size_t rank = arguments.input_size.size() - 2;
  for (size_t axis = 0; axis < rank; ++axis) {
    const size_t to = kAxes - rank + axis;  // leading axes stay of size 1
    problem.input[to] = to_int32(arguments.input_size[axis + 2], "input");
    problem.kernel[to] = to_int32(arguments.weight_size[axis + 2], "weight");
    problem.stride[to] = to_int32(arguments.stride[axis], "stride");
    problem.padding[to] = to_int32(arguments.padding[2 * axis], "padding");
    to_int32(arguments.padding[2 * axis + 1], "padding");
    problem.dilation[to] = to_int32(arguments.dilation[axis], "dilation");
    problem.output[to] = to_int32(output_extent(arguments, axis), "output");
  }
  return problem;
}

ConvProblem make_pointwise_problem(const Sizes& input_size) {
  STD_TORCH_CHECK(input_size.size() >= 3 && input_size.size() <= 2 + kAxes, "maskconv_ext: input: got ",
                  input_size.size(), " dimensions, needs 3, 4 or 5");
  const size_t rank = input_size.size() - 2;
  Sizes weight(input_size.size(), 1);
  weight[1] = input_size[1];
  return make_problem({input_size, weight, Sizes(rank, 1), Sizes(2 * rank, 0), Sizes(rank, 1), 1, false});
}

Sizes output_size(const ConvArguments& arguments) {
  Sizes size{arguments.input_size[0], arguments.weight_size[0]};
  for (size_t axis = 0; axis + 2 < arguments.input_size.size(); ++axis) {
    size.push_back(output_extent(arguments, axis));
  }
  return size;
}

Normalization parse_normalization(const std::string& name) {
  if (name == "ratio") return Normalization::kRatio;
  if (name == "mean") return Normalization::kMean;
  if (name == "sqrt") return Normalization::kSqrt;
  if (name == "none") return Normalization::kNone;
  STD_TORCH_CHECK(false, "maskconv_ext: normalization: got '", name, "', needs ratio, mean, sqrt or none");
}

MaskUpdate parse_mask_update(const std::string& name) {
  if (name == "any") return MaskUpdate::kAny;
  if (name == "all") return MaskUpdate::kAll;
  if (name == "center") return MaskUpdate::kCenter;
  if (name == "threshold") return MaskUpdate::kThreshold;
  if (name == "fraction") return MaskUpdate::kFraction;
  STD_TORCH_CHECK(false, "maskconv_ext: mask_update: got '", name,
                  "', needs any, all, center, threshold or fraction");
}

Mask make_mask(const std::optional<Tensor>& mask, const Tensor& input, const Sizes& parts,
               ConvProblem& problem) {
  Mask result;
  STD_TORCH_CHECK(mask || parts.empty(), "maskconv_ext: mask_channels: needs to be empty without a mask");
  if (!mask) return result;
  check_device(*mask, input, "mask");
  const Sizes size = sizes_of(*mask), input_size = sizes_of(input);
  STD_TORCH_CHECK(size.size() == input_size.size() && (size[0] == 1 || size[0] == input_size[0]),
                  "maskconv_ext: mask: needs the dimensions of input, and its batch size or 1");
  for (size_t axis = 2; axis < size.size(); ++axis) {
    STD_TORCH_CHECK(size[axis] == input_size[axis], "maskconv_ext: mask: got size ", size[axis],
                    " in dimension ", axis, ", needs ", input_size[axis]);
  }
  STD_TORCH_CHECK(size[1] == static_cast<int64_t>(parts.empty() ? 1 : parts.size()),
                  "maskconv_ext: mask: got ", size[1],
                  " channels, needs one for each entry of mask_channels");

  const ScalarType dtype = mask->scalar_type();
  const bool hard = dtype == ScalarType::Bool || dtype == ScalarType::Byte;
  const bool soft = dtype == ScalarType::Half || dtype == ScalarType::BFloat16 ||
                    dtype == ScalarType::Float || dtype == ScalarType::Double;
  STD_TORCH_CHECK(hard || soft, "maskconv_ext: mask: needs bool, uint8 or a floating dtype");
  const bool wide = input.scalar_type() == ScalarType::Double;
  const ScalarType stored = hard ? dtype : wide ? ScalarType::Double : ScalarType::Float;
  result.storage = to_engine_layout(hard || dtype == stored ? *mask : torch::stable::to(*mask, stored));
  result.view.kind = hard ? cpu::MaskKind::kHard : cpu::MaskKind::kSoft;
  result.view.data = result.storage.data_ptr();
  result.view.channels = static_cast<int32_t>(size[1]);
  problem.mask_batch = size[0] == 1 ? 1 : problem.batch;

  int64_t first = 0;
  for (size_t part = 0; part < parts.size(); ++part) {
    result.view.parts.push_back(
        {static_cast<int32_t>(part), static_cast<int32_t>(first), to_int32(parts[part], "mask_channels")});
    first += parts[part];
  }
  STD_TORCH_CHECK(parts.empty() || first == problem.channels, "maskconv_ext: mask_channels: got a sum of ",
                  first, ", needs ", problem.channels);
  if (parts.size() > 1) result.view.window_channels = problem.groups;
  return result;
}

void check_candidate(const std::string& candidate, const std::vector<std::string>& known) {
  std::string needs = known.empty() ? "''" : "one of ''";
  for (const std::string& name : known) {
    if (candidate == name) return;
    needs += ", '" + name + "'";
  }
  STD_TORCH_CHECK(candidate.empty(), "maskconv_ext: candidate: got '", candidate, "', needs ", needs);
}

cpu::Strides strides_of(int64_t positions, int64_t channels, bool channels_last) {
  const int64_t image = channels * positions;
  return channels_last ? cpu::Strides{image, channels, 1} : cpu::Strides{image, 1, positions};
}

}  // namespace maskconv::ops
