// Launching the emulated kernel that says what rows are sorted by. The sort itself is a library's, on the
// device and here: NumPy's, which is stable as CUB's is.
#pragma once

#include "emulation/launch.h"
#include "kernels/row_keys.cuh"

namespace maskconv::emulation {

template <class Pass>
Counters launch_row_keys(const RowKeyParams<typename Pass::Params>& params, const LaunchOptions& options,
                         GlobalMemory& memory) {
  if (params.blocks() == 0) return {};
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  return launch(grid, Dim3{kRowKeyThreads, 1, 1}, 0, options, memory, &row_keys<Pass>, params);
}

}  // namespace maskconv::emulation
