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

// A block of values a row, each row with a factor and a valid flag.
template <typename Acc>
struct ScaledRows {
  const Acc* from;
  Acc* to;  // may be `from`
  int64_t rows, columns;
  int64_t stride;  // between rows, of both
  const Acc* factor;
  const uint8_t* valid;
  int64_t window_stride;  // between the factors, and flags, of rows
};

// to = factor * from where valid, else 0; sums, if given, += from of the valid rows, or of all.
void scale_rows(const ScaledRows<float>& block, float* sums, bool sum_all);
void scale_rows(const ScaledRows<double>& block, double* sums, bool sum_all);

// sums += 1 where the mask is not 0
void accumulate_valid(int32_t* sums, const uint8_t* mask, int64_t n);

// sums += values
void accumulate(float* sums, const float* values, int64_t n);
void accumulate(double* sums, const double* values, int64_t n);
void accumulate(int32_t* sums, const int32_t* values, int64_t n);

}  // namespace maskconv::cpu
