// ldmatrix and mma: a lane hands in its registers, the last to come works for the whole warp.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "emulation/machine.h"
#include "emulation/numbers.h"

namespace maskconv::emulation {

// An 8x8 matrix of 16-bit elements, in rows of 4 words, the lower half of a word first.
inline void transpose(uint32_t (&words)[kWarpSize]) {
  const auto element = [rows = std::to_array(words)](int row, int column) {
    return rows[row * kMatrixRows / 2 + column / 2] >> (column % 2 * 16) & 0xffff;
  };
  for (int i = 0; i < kWarpSize; ++i) {
    const int row = i / 4, column = i % 4 * 2;
    words[i] = element(column, row) | element(column + 1, row) << 16;
  }
}

template <int Matrices, bool kTransposed = false>
void ldmatrix(uint32_t (&registers)[Matrices], const void* row, const Site& site) {
  struct Lane {
    const void* row;
    uint32_t* registers;
    const Site* site;
  };
  Lane mine{row, registers, &site};
  const auto load = [](Machine& machine, const Machine::Arguments& lanes, uint32_t) {
    const auto lane_of = [&](int lane) { return static_cast<const Lane*>(lanes[lane]); };
    for (int matrix = 0; matrix < Matrices; ++matrix) {
      const void* rows[kMatrixRows];
      for (int i = 0; i < kMatrixRows; ++i) rows[i] = lane_of(matrix * kMatrixRows + i)->row;
      uint32_t words[kWarpSize];  // lane l receives word l % 4 of row l / 4: the l-th word
      machine.read_matrix(rows, matrix * kMatrixRows, words, *lane_of(0)->site);
      if constexpr (kTransposed) transpose(words);
      for (int lane = 0; lane < kWarpSize; ++lane) lane_of(lane)->registers[matrix] = words[lane];
    }
    ++machine.counters()[Count::kLdmatrix];
  };
  Machine::current().meet("ldmatrix", kAllLanes, &mine, load, site);
}

// TF32 is the upper 19 bits of a float.
inline uint32_t cut_to_tf32(uint32_t bits) { return bits & 0xffffe000; }

// The bits of a float as the conversion leaves them that ptxas (13.0, sm_80 and sm_90a) makes of
// cvt.rna.tf32.f32: half of the last kept place is added, unless that would make another number of an
// infinity or a NaN, and the rest cut off.
inline uint32_t round_to_tf32(uint32_t bits) {
  constexpr uint32_t kInfinity = 0x7f800000, kHalf = 0x1000;
  const bool finite = (bits & 0x7fffffff) < kInfinity;
  return cut_to_tf32(finite ? bits + kHalf : bits);
}

// An mma of type T multiplies 16 x K of a by K x 8 of b, in words of one or two elements.
inline constexpr int kMmaM = 16, kMmaN = 8;
template <class T>
inline constexpr int kWordElements = static_cast<int>(sizeof(uint32_t) / sizeof(T));
template <class T>
inline constexpr int kMmaK = 8 * kWordElements<T>;

inline void unpack(float* elements, uint32_t word, f16) {
  elements[0] = to_float(f16{static_cast<uint16_t>(word)});
  elements[1] = to_float(f16{static_cast<uint16_t>(word >> 16)});
}
inline void unpack(float* elements, uint32_t word, bf16) {
  elements[0] = to_float(bf16{static_cast<uint16_t>(word)});
  elements[1] = to_float(bf16{static_cast<uint16_t>(word >> 16)});
}
inline void unpack(float* elements, uint32_t word, tf32) {
  elements[0] = std::bit_cast<float>(cut_to_tf32(word));  // whatever lies below is not read
}

// d (16x8) += a (16 x K, row major) * b (stored as its 8 columns). Each element: the K products, exact in
// double, are added up in order of k in double, then d, and the sum is rounded to float once. The hardware's
// own order and truncation are not documented; this is at least as accurate.
template <int K>
void multiply_accumulate(float (&d)[kMmaM][kMmaN], const float (&a)[kMmaM][K], const float (&b)[kMmaN][K]);

template <class T>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* name, const Site& site) {
  struct Lane {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
  };
  Lane mine{d, a, b};
  const auto multiply = [](Machine& machine, const Machine::Arguments& lanes, uint32_t) {
    constexpr int kHalf = kMmaK<T> / 2;
    float tile_a[kMmaM][kMmaK<T>], tile_b[kMmaN][kMmaK<T>], tile_d[kMmaM][kMmaN];
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const Lane& fragment = *static_cast<const Lane*>(lanes[lane]);
      const int row = lane / 4, k = lane % 4 * kWordElements<T>, column = lane % 4 * 2;
      unpack(&tile_a[row][k], fragment.a[0], T{});
      unpack(&tile_a[row + 8][k], fragment.a[1], T{});
      unpack(&tile_a[row][k + kHalf], fragment.a[2], T{});
      unpack(&tile_a[row + 8][k + kHalf], fragment.a[3], T{});
      unpack(&tile_b[row][k], fragment.b[0], T{});
      unpack(&tile_b[row][k + kHalf], fragment.b[1], T{});
      for (int i = 0; i < 4; ++i) tile_d[row + i / 2 * 8][column + i % 2] = fragment.d[i];
    }
    multiply_accumulate(tile_d, tile_a, tile_b);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const Lane& fragment = *static_cast<const Lane*>(lanes[lane]);
      const int row = lane / 4, column = lane % 4 * 2;
      for (int i = 0; i < 4; ++i) fragment.d[i] = tile_d[row + i / 2 * 8][column + i % 2];
    }
    ++machine.counters()[Count::kMma];
  };
  Machine::current().meet(name, kAllLanes, &mine, multiply, site);
}

}  // namespace maskconv::emulation
