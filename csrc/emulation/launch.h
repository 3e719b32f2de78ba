// Launches a kernel on the emulated machine, as <<<grid, block, smem_bytes>>> does on the device.
#pragma once

#include <type_traits>

#include "emulation/machine.h"

namespace maskconv::emulation {

template <class Params>
Counters launch(Dim3 grid, Dim3 block, size_t smem_bytes, const LaunchOptions& options, GlobalMemory& memory,
                void (*kernel)(Params), const std::type_identity_t<Params>& params) {
  return Machine(grid, block, smem_bytes, options, memory, [&] { kernel(params); }).run();
}

}  // namespace maskconv::emulation
