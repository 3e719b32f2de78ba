#include "kernels/grad_input.cuh"
#include "launch/few_channels_launch.cuh"
#include "plan/grad_input_planner.h"

namespace maskconv {

void launch_few_channels(const GradInputArguments& arguments, void* cuda_stream) {
  const GemmConfig config = few_channels::config_for(
      grad_input_shape(arguments.problem, arguments.row_order != nullptr), arguments.dtype);
  launch_few_channels_pass<GradInput>(config, make_grad_input_params(arguments, config), arguments.dtype,
                                      cuda_stream,
                                      "launching the few-channels masked convolution's input gradient");
}

}  // namespace maskconv
