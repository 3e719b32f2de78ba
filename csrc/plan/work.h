// What a kernel has to do for a problem, by which kernels that take the same problem can be compared.
#pragma once

#include <cstdint>

namespace maskconv {

struct Work {
  double bytes = 0;          // between the multiprocessors and device memory, caches being ideal
  double multiply_adds = 0;  // that are issued, those of idle lanes and padding among them
};

}  // namespace maskconv
