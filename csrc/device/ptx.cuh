// The hardware as kernels see it, and the only file with inline PTX. nvcc compiles what follows; g++ gets the
// same names from csrc/emulation, where each carries out, checks and counts what the instruction would do.
#pragma once

#include "device/site.h"

#if !defined(__CUDACC__)
#include "emulation/ptx_host.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace maskconv {

using f16 = __half;
using bf16 = __nv_bfloat16;
struct tf32 {  // a float; tensor cores round it to TF32 when they multiply
  float value;
};

__device__ __forceinline__ float to_float(f16 value) { return __half2float(value); }
__device__ __forceinline__ float to_float(bf16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(tf32 value) { return value.value; }

template <class T>
__device__ __forceinline__ T from_float(float value) {
  if constexpr (std::is_same_v<T, f16>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16_rn(value);
  } else if constexpr (std::is_same_v<T, tf32>) {
    return {value};
  } else {
    static_assert(std::is_same_v<T, float>);
    return value;
  }
}

// Bytes moved as one access.
struct alignas(8) Vec8 {
  uint32_t word[2];
};
struct alignas(16) Vec16 {
  uint32_t word[4];
};

namespace ptx {

namespace detail {

// The compiler does not always merge a struct's words into one access; a built-in vector type makes it.
template <int Bytes>
struct Access;
template <>
struct Access<1> {
  using type = uint8_t;
};
template <>
struct Access<2> {
  using type = uint16_t;
};
template <>
struct Access<4> {
  using type = uint32_t;
};
template <>
struct Access<8> {
  using type = uint2;
};
template <>
struct Access<16> {
  using type = uint4;
};

template <class T>
__device__ __forceinline__ T load(const T* address) {
  using Raw = typename Access<sizeof(T)>::type;
  const Raw raw = *reinterpret_cast<const Raw*>(address);
  T value;
  memcpy(&value, &raw, sizeof(T));
  return value;
}

template <class T>
__device__ __forceinline__ void store(T* address, const T& value) {
  using Raw = typename Access<sizeof(T)>::type;
  Raw raw;
  memcpy(&raw, &value, sizeof(T));
  *reinterpret_cast<Raw*>(address) = raw;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

}  // namespace detail

// The block's dynamic shared memory.
__device__ __forceinline__ unsigned char* dynamic_smem() {
  extern __shared__ __align__(1024) unsigned char maskconv_dynamic_smem[];
  return maskconv_dynamic_smem;
}

// Copies Bytes (4, 8 or 16) without waiting; writes zeros, reading nothing, where !pred.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* smem, const void* global, bool pred, Site = Site::here()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const uint32_t destination = detail::shared_address(smem);
  const size_t source = __cvta_generic_to_global(global);
  const int source_bytes = pred ? Bytes : 0;
  if constexpr (Bytes == 16) {  // past L1, which .cg has for 16 bytes only
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
                 "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(destination), "l"(source), "n"(Bytes),
                 "r"(source_bytes)
                 : "memory");
  }
}

__device__ __forceinline__ void cp_async_commit(Site = Site::here()) {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Returns once all but the N latest groups this thread committed have landed.
template <int N>
__device__ __forceinline__ void cp_async_wait(Site = Site::here()) {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of 16-bit elements: lane l points at row l % 8 of matrix l / 8, and receives of matrix i,
// in r[i], the elements 2 * (l % 4) and the next of row l / 4.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row, Site = Site::here()) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

// The same matrices transposed: lane l receives of matrix i column l / 4 of the rows 2 * (l % 4) and the
// next.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Site = Site::here()) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

// Two matrices, their rows given by lanes 0 to 15.
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row, Site = Site::here()) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(row))
               : "memory");
}

// d += a * b for a 16x16 tile of a (row major) and a 16x8 tile of b (column major), spread over the warp.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                             Site = Site::here()) {
  if constexpr (std::is_same_v<T, f16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    static_assert(std::is_same_v<T, bf16>);
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// Of two halves of T, each: x * upper + x * lower, the second product rounded, then the sum.
template <class T>
__device__ __forceinline__ uint32_t multiply_pair(uint32_t x, uint32_t upper, uint32_t lower) {
  uint32_t result;
  constexpr uint32_t kMinusZeros = 0x80008000;
  if constexpr (std::is_same_v<T, f16>) {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(lower), "r"(kMinusZeros));
    asm("fma.rn.f16x2 %0, %1, %2, %0;" : "+r"(result) : "r"(x), "r"(upper));
  } else {
    static_assert(std::is_same_v<T, bf16>);
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(lower), "r"(kMinusZeros));
    asm("fma.rn.bf16x2 %0, %1, %2, %0;" : "+r"(result) : "r"(x), "r"(upper));
  }
  return result;
}

// The bits of a float, rounded to the 10 bits of fraction that TF32 has; ties away from zero. The mma below
// would cut the rest off.
__device__ __forceinline__ uint32_t round_to_tf32(uint32_t bits) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

// d += a * b for a 16x8 tile of a (row major) and an 8x8 tile of b (column major), in TF32.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2], Site = Site::here()) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class T>
__device__ __forceinline__ T load_global(const T* address, Site = Site::here()) {
  return detail::load(address);
}

template <class T>
__device__ __forceinline__ void store_global(T* address, const std::type_identity_t<T>& value,
                                             Site = Site::here()) {
  detail::store(address, value);
}

template <class T>
__device__ __forceinline__ T load_shared(const T* address, Site = Site::here()) {
  return detail::load(address);
}

template <class T>
__device__ __forceinline__ void store_shared(T* address, const std::type_identity_t<T>& value,
                                             Site = Site::here()) {
  detail::store(address, value);
}

__device__ __forceinline__ void atomic_or_shared(uint32_t* address, uint32_t bits, Site = Site::here()) {
  atomicOr(address, bits);
}

// A figure for the emulation's counters; nothing on the device.
__device__ __forceinline__ void count(const char*, uint64_t = 1) {}

}  // namespace ptx
}  // namespace maskconv

#endif
