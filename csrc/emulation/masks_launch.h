// The kernels for masks of any kind, launched on the emulated machine as launch/window.cu, launch/select.cu
// and launch/finish.cu do. Each returns the counters of its last kernel.
#pragma once

#include "emulation/launch.h"
#include "kernels/finish.cuh"
#include "kernels/select.cuh"
#include "kernels/window.cuh"

namespace maskconv::emulation {

inline Dim3 one_dimension(int64_t size) { return {static_cast<unsigned>(size), 1, 1}; }

// Value: of the mask.
template <class Sum, class Value>
Counters launch_window(const WindowParams& params, const LaunchOptions& options, GlobalMemory& memory) {
  if (params.windows() == 0) return {};
  const Dim3 block = one_dimension(kWindowThreads);
  const Dim3 grid = one_dimension(window_blocks(params.windows()));
  if (params.mask.shared()) return launch(grid, block, 0, options, memory, &sum_windows<Sum, Value>, params);
  const int64_t threads = params.channel_sum_count() * params.threads_per_sum;
  launch(one_dimension(window_blocks(threads)), block, 0, options, memory, &sum_channels<Sum, Value>, params);
  return launch(grid, block, 0, options, memory, &sum_windows<Sum, Sum>, params);
}

template <class Element, class Value>
Counters launch_select(const SelectParams& params, const LaunchOptions& options, GlobalMemory& memory) {
  if (params.problem.batch == 0) return {};
  if (!params.channels_last)
    return launch(one_dimension(params.tiles()), one_dimension(kSelectTileThreads),
                  select_tile_bytes(params.dtype), options, memory, &select_planes<Element, Value>, params);
  return launch(one_dimension(params.blocks()), one_dimension(kRowThreads), 0, options, memory,
                params.vector > 1 ? &select_rows<Element, Value, kVectorBytes / sizeof(Element)>
                                  : &select_rows<Element, Value, 1>,
                params);
}

template <class Element>
Counters launch_finish(const FinishParams& params, const LaunchOptions& options, GlobalMemory& memory) {
  if (params.blocks() == 0) return {};
  return launch(one_dimension(params.blocks()), one_dimension(kRowThreads), 0, options, memory,
                params.vector > 1 ? &finish<Element, kVectorBytes / sizeof(Element)> : &finish<Element, 1>,
                params);
}

}  // namespace maskconv::emulation
