#include "ops/convolve.h"

namespace maskconv::ops {

Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                const ConvArguments& arguments) {
  const size_t rank = arguments.stride.size();
  Tensor padded = input;
  Sizes padding(rank);
  bool symmetric = true;
  for (size_t axis = 0; axis < rank; ++axis) {
    padding[axis] = arguments.padding[2 * axis];
    symmetric = symmetric && arguments.padding[2 * axis + 1] == padding[axis];
  }
  if (!symmetric) {
    Sizes sides;  // last axis first
    for (size_t axis = rank; axis-- > 0;)
      sides.insert(sides.end(), {arguments.padding[2 * axis], arguments.padding[2 * axis + 1]});
    padded = torch::stable::pad(input, sides, "constant", 0.0);
    padding.assign(rank, 0);
  }
  return call_aten("aten::convolution", "", padded, weight, bias, arguments.stride, padding,
                   arguments.dilation, false, Sizes(rank, 0), arguments.groups);
}

}  // namespace maskconv::ops
