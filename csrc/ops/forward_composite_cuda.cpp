#ifdef MASKCONV_WITH_CUDA

#include "ops/forward_composite_cuda.h"

#include "launch/finish.h"
#include "ops/convolve.h"
#include "ops/cuda_stream.h"
#include "ops/masks_cuda.h"

namespace maskconv::ops {

Tensor forward_composite_cuda(const ForwardCall& call, const ConvArguments& arguments, const Tensor& input,
                              const Tensor& weight) {
  const CountedWindows counted = count_windows_cuda(call, input);
  const bool masked = call.mask.view.kind != cpu::MaskKind::kNone;
  const Tensor selected = masked ? select_cuda(call.problem, call.mask, input) : input;
  const Tensor output = to_engine_layout(convolve(selected, weight, std::nullopt, arguments));

  FinishArguments finish;
  finish.problem = call.problem;
  finish.dtype = dtype_of(input);
  finish.windows = counted.windows;
  finish.weight_sum = call.weight_sum_data();
  finish.bias = call.bias_data();
  finish.y = output.data_ptr();
  launch_finish(finish, current_stream(input));
  return output;
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
