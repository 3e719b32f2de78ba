// What tensor cores multiply: operand tiles of 16-byte chunks in shared memory, and the fragments of them
// that a warp's lanes hold in registers. A fragment is four quarters of 8 lines (rows or columns of the
// product) x half of an mma's reduction steps, a register each.
#pragma once

#include "device/element.cuh"
#include "device/smem.cuh"

namespace maskconv {

// One mma adds up the products of 16 rows, 8 columns and 32 bytes of the reduction: 16 steps of fp16 and
// bf16, 8 of float32.
template <class Element>
struct Mma {
  static constexpr int32_t kM = 16;
  static constexpr int32_t kN = 8;
  static constexpr int32_t kChunkElements = kVectorBytes / sizeof(Element);
  static constexpr int32_t kK = 2 * kChunkElements;
  static constexpr bool kIsTf32 = std::is_same_v<Element, tf32>;

  static __device__ __forceinline__ void round(uint32_t (&fragment)[4]) {
    if constexpr (kIsTf32)
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) fragment[i] = ptx::round_to_tf32(fragment[i]);
  }

  static __device__ __forceinline__ void multiply(float (&sums)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
    if constexpr (kIsTf32) {
      ptx::mma_m16n8k8_tf32(sums, a, b);
    } else {
      ptx::mma_m16n8k16<Element>(sums, a, b);
    }
  }
};

// An operand tile whose rows are lines, kRowChunks chunks long along the reduction. ldmatrix deals out words,
// whether they hold two elements or one.
template <class Element, int32_t kRowChunks>
struct TileOfLines {
  static constexpr int32_t kChunkElements = Mma<Element>::kChunkElements;

  // Of 16 rows: the lower and upper 8 of the first half of the steps, then of the second.
  static __device__ __forceinline__ void load_a(uint32_t (&a)[4], const unsigned char* tile, int32_t row,
                                                int32_t k, int32_t lane) {
    ptx::ldmatrix_x4(a, tile + swizzled<kRowChunks>(row + lane % 16, k / kChunkElements + lane / 16));
  }

  // Of 16 columns, for two mma: both halves of the steps of the first 8, then of the next.
  static __device__ __forceinline__ void load_b(uint32_t (&b)[4], const unsigned char* tile, int32_t column,
                                                int32_t k, int32_t lane) {
    ptx::ldmatrix_x4(
        b, tile + swizzled<kRowChunks>(column + lane / 16 * 8 + lane % 8, k / kChunkElements + lane / 8 % 2));
  }
};

// An operand tile whose rows are steps, kRowChunks chunks long across the lines; the fragments are the same.
// The transposing ldmatrix turns 16-bit elements as it reads; wider ones are read word by word.
template <class Element, int32_t kRowChunks>
struct TileOfSteps {
  static constexpr int32_t kChunkElements = Mma<Element>::kChunkElements;

  // Byte offset of a chunk. Of floats a quarter is 4 rows x 2 chunks, which have to lie in 8 different places
  // of a bank row.
  static __device__ __forceinline__ int32_t place(int32_t row, int32_t chunk) {
    if constexpr (Mma<Element>::kIsTf32) {
      static_assert(kRowChunks % 8 == 0, "a row is whole bank rows");
      return (row * kRowChunks + (chunk ^ row % 4 * 2)) * kVectorBytes;
    } else {
      return swizzled<kRowChunks>(row, chunk);
    }
  }

  static __device__ __forceinline__ void load_a(uint32_t (&a)[4], const unsigned char* tile, int32_t row,
                                                int32_t k, int32_t lane) {
    if constexpr (Mma<Element>::kIsTf32) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) a[i] = word(tile, k + i / 2 * 4, row + i % 2 * 8, lane);
    } else {
      ptx::ldmatrix_x4_trans(a,
                             tile + place(k + lane / 16 * 8 + lane % 8, row / kChunkElements + lane / 8 % 2));
    }
  }

  static __device__ __forceinline__ void load_b(uint32_t (&b)[4], const unsigned char* tile, int32_t column,
                                                int32_t k, int32_t lane) {
    if constexpr (Mma<Element>::kIsTf32) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) b[i] = word(tile, k + i % 2 * 4, column + i / 2 * 8, lane);
    } else {
      ptx::ldmatrix_x4_trans(b, tile + place(k + lane % 16, column / kChunkElements + lane / 16));
    }
  }

 private:
  // A lane's word of the quarter from step k and that line on.
  static __device__ __forceinline__ uint32_t word(const unsigned char* tile, int32_t k, int32_t line,
                                                  int32_t lane) {
    const int32_t mine = line + lane / 4;
    const unsigned char* const chunk = tile + place(k + lane % 4, mine / kChunkElements);
    return ptx::load_shared(reinterpret_cast<const uint32_t*>(chunk) + mine % kChunkElements);
  }
};

}  // namespace maskconv
