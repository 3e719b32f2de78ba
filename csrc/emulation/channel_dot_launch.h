// Products summed over channels, launched on the emulated machine as launch/channel_dot.cu does.
#pragma once

#include "emulation/launch.h"
#include "kernels/channel_dot.cuh"

namespace maskconv::emulation {

template <class Element>
Counters launch_channel_dot(const ChannelDotParams& params, const LaunchOptions& options,
                            GlobalMemory& memory) {
  if (params.blocks() == 0) return {};
  return launch(
      {static_cast<unsigned>(params.blocks()), 1, 1}, {kDotThreads, 1, 1}, 0, options, memory,
      params.vector > 1 ? &channel_dot<Element, kVectorBytes / sizeof(Element)> : &channel_dot<Element, 1>,
      params);
}

}  // namespace maskconv::emulation
