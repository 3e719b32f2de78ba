// Vectors of the compiler: intrinsics would be one source an instruction set.
#pragma once

namespace maskconv::cpu {
namespace {

template <typename T, int kBytes>
struct Vector {
  typedef T type __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));
};

// Loops over registers are unrolled whole, or the sums would live in memory.
#define MASKCONV_UNROLL _Pragma("GCC unroll 16")

}  // namespace
}  // namespace maskconv::cpu
