// Element types every engine knows.
#pragma once

#include <cstdint>

namespace maskconv {

enum class DType : int32_t { kFloat32, kFloat64, kBFloat16, kFloat16 };

}  // namespace maskconv
