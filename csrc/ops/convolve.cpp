#include "ops/convolve.h"

#include <utility>

namespace maskconv::ops {

namespace {

// The framework pads both sides alike: other padding is a pass of its own, before.
struct Padding {
  explicit Padding(const ConvArguments& arguments) : sides(arguments.stride.size()) {
    bool symmetric = true;
    for (size_t axis = 0; axis < sides.size(); ++axis) {
      sides[axis] = arguments.padding[2 * axis];
      symmetric = symmetric && arguments.padding[2 * axis + 1] == sides[axis];
    }
    if (symmetric) return;
    sides.assign(sides.size(), 0);
    for (size_t axis = sides.size(); axis-- > 0;)
      before.insert(before.end(), {arguments.padding[2 * axis], arguments.padding[2 * axis + 1]});
  }

  Tensor pad(const Tensor& input) const {
    return before.empty() ? input : torch::stable::pad(input, before, "constant", 0.0);
  }
  Tensor unpad(const Tensor& padded) const {
    if (before.empty()) return padded;
    Sizes less;
    for (const int64_t side : before) less.push_back(-side);
    return torch::stable::pad(padded, less, "constant", 0.0);
  }

  Sizes sides;   // what the convolution pads
  Sizes before;  // (before, after) of the last axis first; empty: nothing
};

// aten::convolution_backward, for the input or for the weight.
Tensor convolution_backward(const Tensor& grad, const Tensor& input, const Tensor& weight,
                            const Padding& padding, const ConvArguments& arguments, bool of_weight) {
  const std::array<bool, 3> wanted{!of_weight, of_weight, false};
  const auto from = [](const auto& value) { return torch::stable::detail::from(value); };
  std::array<StableIValue, 11> stack{from(grad),
                                     from(input),
                                     from(weight),
                                     from(std::optional<Sizes>()),
                                     from(arguments.stride),
                                     from(padding.sides),
                                     from(arguments.dilation),
                                     from(false),
                                     from(Sizes(padding.sides.size(), 0)),  // output_padding
                                     from(arguments.groups),
                                     from(torch::headeronly::HeaderOnlyArrayRef<bool>(wanted))};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::convolution_backward", "", stack.data(), TORCH_ABI_VERSION));
  std::array<Tensor, 3> gradients;  // all three are ours to free
  for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = torch::stable::detail::to<Tensor>(stack[i]);
  return gradients[of_weight ? 1 : 0];
}

}  // namespace

Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                const ConvArguments& arguments) {
  const Padding padding(arguments);
  return call_aten("aten::convolution", "", padding.pad(input), weight, bias, arguments.stride, padding.sides,
                   arguments.dilation, false, Sizes(padding.sides.size(), 0), arguments.groups);
}

Tensor convolve_grad_input(const Tensor& grad, const Tensor& input, const Tensor& weight,
                           const ConvArguments& arguments) {
  const Padding padding(arguments);
  return padding.unpad(convolution_backward(grad, padding.pad(input), weight, padding, arguments, false));
}

Tensor convolve_grad_weight(const Tensor& grad, const Tensor& input, const Tensor& weight,
                            const ConvArguments& arguments) {
  const Padding padding(arguments);
  return convolution_backward(grad, padding.pad(input), weight, padding, arguments, true);
}

}  // namespace maskconv::ops
