#include "ops/forward_call.h"

namespace maskconv::ops {

ForwardCall::ForwardCall(const Tensor& input, const std::optional<Tensor>& mask, const Tensor& weight,
                         const std::optional<Tensor>& bias, const ConvArguments& arguments,
                         const Sizes& mask_channels, const std::string& normalization,
                         const std::string& mask_update, double threshold, std::optional<double> fill,
                         bool pad_is_valid, const std::optional<Tensor>& weight_sum)
    : problem(make_problem(arguments)), output_size(ops::output_size(arguments)) {
  check_device(weight, input, "weight");
  if (bias) check_device(*bias, input, "bias");
  STD_TORCH_CHECK(threshold >= 0.0 && threshold <= 1.0, "maskconv_ext: threshold: got ", threshold,
                  ", needs a number from 0 to 1");
  STD_TORCH_CHECK(weight.scalar_type() == input.scalar_type(),
                  "maskconv_ext: weight: needs the dtype of input");
  STD_TORCH_CHECK(!bias || (bias->scalar_type() == input.scalar_type() && bias->numel() == problem.filters),
                  "maskconv_ext: bias: needs one value a filter, in the dtype of input");
  const bool by_weight = normalization == "weight";
  problem.normalization = by_weight ? Normalization::kWeight : parse_normalization(normalization);
  problem.mask_update = parse_mask_update(mask_update);
  problem.threshold = threshold;
  problem.fill = fill.value_or(0.0);
  problem.fill_with_bias = !fill.has_value();
  problem.pad_is_valid = pad_is_valid;
  this->mask = make_mask(mask, input, mask_channels, problem);
  if (bias) this->bias = to_contiguous(*bias);

  window_batch = mask ? mask->size(0) : 1;
  Sizes window{window_batch, this->mask.view.window_channels};
  window.insert(window.end(), output_size.begin() + 2, output_size.end());
  const ScalarType soft = this->mask.soft() ? this->mask.storage.scalar_type() : ScalarType::Float;
  const bool channels_last = window[1] > 1;  // the engine's layout, which of one channel is any
  window_sum = empty_beside(input, window, this->mask.soft() ? soft : ScalarType::Int, channels_last);
  const bool fraction = problem.mask_update == MaskUpdate::kFraction;
  const ScalarType hard = !mask || this->mask.soft() ? ScalarType::Bool : mask->scalar_type();
  out_mask = empty_beside(input, window, fraction ? soft : hard, channels_last);

  STD_TORCH_CHECK(weight_sum || !by_weight,
                  "maskconv_ext: weight_sum: got None, needs a tensor for normalization='weight'");
  if (!weight_sum) return;
  check_device(*weight_sum, input, "weight_sum");
  Sizes sums = output_size;
  sums[0] = window_batch;
  STD_TORCH_CHECK(sizes_of(*weight_sum) == sums,
                  "maskconv_ext: weight_sum: needs the batch size of the mask, or 1, and the other sizes of "
                  "the output");
  const bool wide = input.scalar_type() == ScalarType::Double;
  STD_TORCH_CHECK(weight_sum->scalar_type() == (wide ? ScalarType::Double : ScalarType::Float),
                  "maskconv_ext: weight_sum: needs float64 for float64, else float32");
  this->weight_sum = *weight_sum;
}

void ForwardCall::lay_out_weight_sum(bool channels_last) {
  if (!weight_sum) return;
  weight_sum = channels_last ? to_engine_layout(*weight_sum) : to_contiguous(*weight_sum);
}

cpu::MaskElement ForwardCall::out_mask_element() const {
  switch (out_mask.scalar_type()) {
    case ScalarType::Float:
      return cpu::MaskElement::kFloat32;
    case ScalarType::Double:
      return cpu::MaskElement::kFloat64;
    default:
      return cpu::MaskElement::kUInt8;
  }
}

Tensor ForwardCall::public_out_mask(const std::optional<Tensor>& mask) const {
  return mask && this->mask.soft() ? torch::stable::to(out_mask, mask->scalar_type()) : out_mask;
}

}  // namespace maskconv::ops
