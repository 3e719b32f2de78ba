// The loops of tile.h with AVX2: 12 of 16 registers hold a tile's sums.
#include "cpu/tile.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "cpu/tile_loops.h"

namespace maskconv::cpu {
namespace {

template <typename T>
constexpr TileKernels<T> kKernels = make_tile_kernels<T, 32, 6, 2>();

}  // namespace

template <typename T>
const TileKernels<T>& tile_kernels_avx2() {
  return kKernels<T>;
}

template const TileKernels<float>& tile_kernels_avx2();
template const TileKernels<double>& tile_kernels_avx2();

}  // namespace maskconv::cpu

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
