#include "launch/depthwise_launch.cuh"

namespace maskconv {

void launch_depthwise(const ForwardArguments& arguments, void* cuda_stream) {
  launch_depthwise_pass<Forward>(arguments, cuda_stream, "launching the depthwise masked convolution");
}

}  // namespace maskconv
