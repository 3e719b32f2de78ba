#include "kernels/forward.cuh"
#include "launch/few_channels_launch.cuh"
#include "plan/forward_planner.h"

namespace maskconv {

void launch_few_channels(const ForwardArguments& arguments, void* cuda_stream) {
  const GemmConfig config = few_channels::config_for(forward_shape(arguments.problem), arguments.dtype);
  launch_few_channels_pass<Forward>(config, make_forward_params(arguments, config), arguments.dtype,
                                    cuda_stream, "launching the masked convolution of few channels");
}

}  // namespace maskconv
