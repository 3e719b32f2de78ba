// The loops of tile.h with AVX-512: 28 of 32 registers hold a tile's sums.
#include "cpu/tile.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif

#include "cpu/tile_loops.h"

namespace maskconv::cpu {
namespace {

template <typename T>
constexpr TileKernels<T> kKernels = make_tile_kernels<T, 64, 14, 4>();

}  // namespace

template <typename T>
const TileKernels<T>& tile_kernels_avx512() {
  return kKernels<T>;
}

template const TileKernels<float>& tile_kernels_avx512();
template const TileKernels<double>& tile_kernels_avx512();

}  // namespace maskconv::cpu

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
