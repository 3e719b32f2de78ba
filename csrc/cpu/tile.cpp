// Chooses the loops for this CPU, and has those for CPUs of which nothing is known.
#include "cpu/tile.h"

#include "cpu/tile_loops.h"

namespace maskconv::cpu {
namespace {

template <typename T>
constexpr TileKernels<T> kGeneric = make_tile_kernels<T, 16, 6, 2>();

template <typename T>
const TileKernels<T>& choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return tile_kernels_avx512<T>();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return tile_kernels_avx2<T>();
#endif
  return kGeneric<T>;
}

}  // namespace

template <typename T>
const TileKernels<T>& tile_kernels() {
  static const TileKernels<T>& chosen = choose<T>();
  return chosen;
}

template const TileKernels<float>& tile_kernels();
template const TileKernels<double>& tile_kernels();

}  // namespace maskconv::cpu
