#include "launch/depthwise_launch.cuh"

namespace maskconv {

void launch_depthwise(const GradInputArguments& arguments, void* cuda_stream) {
  launch_depthwise_pass<GradInput>(arguments, cuda_stream,
                                   "launching the depthwise masked convolution's input gradient");
}

}  // namespace maskconv
