// From planes to channels last, and back.
#pragma once

#include <cstdint>

#include "cpu/engine.h"

namespace maskconv::cpu {

// to (batch, columns, rows) = from (batch, rows, columns), contiguous, of 1, 2, 4 or 8 bytes an element.
void transpose(const Runtime& runtime, int64_t batch, int64_t rows, int64_t columns, int64_t element_bytes,
               const void* from, void* to);

}  // namespace maskconv::cpu
