// The framework's thread pool and matrix product, as the CPU engine asks for them.
#pragma once

#include "cpu/engine.h"

namespace maskconv::ops {

cpu::Runtime cpu_runtime();

}  // namespace maskconv::ops
