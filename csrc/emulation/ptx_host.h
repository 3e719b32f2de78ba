// device/ptx.cuh for the host: the same names, carried out and checked by the emulated machine.
#pragma once

#include <cstdint>
#include <type_traits>

#include "device/site.h"
#include "emulation/cuda_builtins.h"
#include "emulation/machine.h"
#include "emulation/numbers.h"
#include "emulation/tensor_core.h"

namespace maskconv::ptx {

inline unsigned char* dynamic_smem() { return emulation::Machine::current().dynamic_smem(); }

template <int Bytes>
void cp_async(void* smem, const void* global, bool pred, Site site = Site::here()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  emulation::Machine::current().cp_async(smem, global, Bytes, pred, site);
}

inline void cp_async_commit(Site = Site::here()) { emulation::Machine::current().cp_async_commit(); }

template <int N>
void cp_async_wait(Site = Site::here()) {
  static_assert(N >= 0);
  emulation::Machine::current().cp_async_wait(N);
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, Site site = Site::here()) {
  emulation::ldmatrix<4>(r, row, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Site site = Site::here()) {
  emulation::ldmatrix<4, true>(r, row, site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, Site site = Site::here()) {
  emulation::ldmatrix<2>(r, row, site);
}

template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site = Site::here()) {
  emulation::mma<T>(d, a, b, "mma_m16n8k16", site);
}

template <class T>
uint32_t multiply_pair(uint32_t x, uint32_t upper, uint32_t lower) {
  static_assert(std::is_same_v<T, f16> || std::is_same_v<T, bf16>);
  uint32_t result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto half = [&](uint32_t pair) { return T{static_cast<uint16_t>(pair >> shift)}; };
    const T small = fused_multiply_add(half(x), half(lower), half(0x80008000));  // to minus zero
    result |= uint32_t{fused_multiply_add(half(x), half(upper), small).bits} << shift;
  }
  return result;
}

inline uint32_t round_to_tf32(uint32_t bits) { return emulation::round_to_tf32(bits); }
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Site site = Site::here()) {
  emulation::mma<tf32>(d, a, b, "mma_m16n8k8_tf32", site);
}

namespace detail {

template <class T>
constexpr bool kOneAccess =
    std::is_trivially_copyable_v<T> &&
    (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);

}  // namespace detail

template <class T>
T load_global(const T* address, Site site = Site::here()) {
  static_assert(detail::kOneAccess<T>);
  T value;
  emulation::Machine::current().load_global(&value, address, sizeof(T), site);
  return value;
}

template <class T>
void store_global(T* address, const std::type_identity_t<T>& value, Site site = Site::here()) {
  static_assert(detail::kOneAccess<T>);
  emulation::Machine::current().store_global(address, &value, sizeof(T), site);
}

template <class T>
T load_shared(const T* address, Site site = Site::here()) {
  static_assert(detail::kOneAccess<T>);
  T value;
  emulation::Machine::current().load_shared(&value, address, sizeof(T), site);
  return value;
}

template <class T>
void store_shared(T* address, const std::type_identity_t<T>& value, Site site = Site::here()) {
  static_assert(detail::kOneAccess<T>);
  emulation::Machine::current().store_shared(address, &value, sizeof(T), site);
}

inline void atomic_or_shared(uint32_t* address, uint32_t bits, Site site = Site::here()) {
  emulation::Machine::current().atomic_or_shared(address, bits, site);
}

inline void count(const char* counter, uint64_t n = 1) {
  emulation::Machine::current().counters().named[counter] += n;
}

}  // namespace maskconv::ptx
