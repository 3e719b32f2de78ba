// ldmatrix and mma: a lane hands in its registers, the last to come works for the whole warp.
#pragma once

#include <array>
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

// Dimensions of mma.m16n8k16.
inline constexpr int kMmaM = 16, kMmaN = 8, kMmaK = 16;

// d (16x8) += a (16x16, row major) * b (stored as its 8 columns). Each element: the 16 products, exact in
// double, are added up in order of k in double, then d, and the sum is rounded to float once. The hardware's
// own order and truncation are not documented; this is at least as accurate.
void multiply_accumulate(float (&d)[kMmaM][kMmaN], const float (&a)[kMmaM][kMmaK],
                         const float (&b)[kMmaN][kMmaK]);

template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Site& site) {
  struct Lane {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
  };
  Lane mine{d, a, b};
  const auto multiply = [](Machine& machine, const Machine::Arguments& lanes, uint32_t) {
    const auto unpack = [](float* pair, uint32_t word) {
      pair[0] = to_float(T{static_cast<uint16_t>(word)});
      pair[1] = to_float(T{static_cast<uint16_t>(word >> 16)});
    };
    float tile_a[kMmaM][kMmaK], tile_b[kMmaN][kMmaK], tile_d[kMmaM][kMmaN];
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const Lane& fragment = *static_cast<const Lane*>(lanes[lane]);
      const int row = lane / 4, column = lane % 4 * 2;
      unpack(&tile_a[row][column], fragment.a[0]);
      unpack(&tile_a[row + 8][column], fragment.a[1]);
      unpack(&tile_a[row][column + 8], fragment.a[2]);
      unpack(&tile_a[row + 8][column + 8], fragment.a[3]);
      unpack(&tile_b[row][column], fragment.b[0]);
      unpack(&tile_b[row][column + 8], fragment.b[1]);
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
  Machine::current().meet("mma_m16n8k16", kAllLanes, &mine, multiply, site);
}

}  // namespace maskconv::emulation
