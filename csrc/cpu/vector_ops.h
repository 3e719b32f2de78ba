// The engine's loops over contiguous channels. Acc is the compute type of T.
#pragma once

#include <cstdint>

#include "cpu/half.h"

namespace maskconv::cpu {

// Rounding of many values at once, and its inverse.
void widen(const float* from, float* to, int64_t n);
void widen(const double* from, double* to, int64_t n);
void widen(const BFloat16* from, float* to, int64_t n);
void widen(const Half* from, float* to, int64_t n);
void narrow(const float* from, float* to, int64_t n);
void narrow(const double* from, double* to, int64_t n);
void narrow(const float* from, BFloat16* to, int64_t n);
void narrow(const float* from, Half* to, int64_t n);

// values = values where the mask is not 0, else 0; a soft mask multiplies as well. The mask has a value per
// channel.
void apply_mask(float* values, const uint8_t* mask, int64_t n);
void apply_mask(double* values, const uint8_t* mask, int64_t n);
void apply_mask(float* values, const float* mask, int64_t n);
void apply_mask(double* values, const double* mask, int64_t n);

// values = factor * values + bias, bias may be null
void scale_and_add(float* values, float factor, const float* bias, int64_t n);
void scale_and_add(double* values, double factor, const double* bias, int64_t n);

// to[i][j] = factor[i] * from[i * ld + j] + bias[j], for j < n; to[i] may be from + i * ld
void finish_rows(const float* from, int64_t ld, float* const* to, const float* factor, const float* bias,
                 int64_t rows, int64_t n);
void finish_rows(const double* from, int64_t ld, double* const* to, const double* factor, const double* bias,
                 int64_t rows, int64_t n);

// A block of rows, `stride` apart; flags that say which of them count, `valid_stride` apart, may be null.
template <typename Acc>
struct CountedRows {
  const Acc* values;
  int64_t rows, columns, stride;
  const uint8_t* valid;
  int64_t valid_stride;
};

// sums += the rows that count
void sum_rows(const CountedRows<float>& block, float* sums);
void sum_rows(const CountedRows<double>& block, double* sums);

// sums += 1 where the mask is not 0
void accumulate_valid(int32_t* sums, const uint8_t* mask, int64_t n);

// sums += values
void accumulate(float* sums, const float* values, int64_t n);
void accumulate(double* sums, const double* values, int64_t n);
void accumulate(int32_t* sums, const int32_t* values, int64_t n);

}  // namespace maskconv::cpu
