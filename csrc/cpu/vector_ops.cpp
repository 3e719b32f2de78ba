#include "cpu/vector_ops.h"

#include <algorithm>
#include <cstring>

#include "cpu/clones.h"

namespace maskconv::cpu {
namespace {

template <typename T, typename Mask>
MASKCONV_INLINE void apply_mask_to(T* values, const Mask* mask, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = mask[i] != 0 ? values[i] : T(0);
}

template <typename T>
MASKCONV_INLINE void apply_soft_mask_to(T* values, const T* mask, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = (mask[i] != 0 ? values[i] : T(0)) * mask[i];
}

template <typename T>
MASKCONV_INLINE void scale_and_add_to(T* values, T factor, const T* bias, int64_t n) {
  if (!bias) {
    for (int64_t i = 0; i < n; ++i) values[i] *= factor;
  } else {
    for (int64_t i = 0; i < n; ++i) values[i] = factor * values[i] + bias[i];
  }
}

template <typename T>
MASKCONV_INLINE void finish_rows_to(const T* from, int64_t ld, T* const* to, const T* factor, const T* bias,
                                    int64_t rows, int64_t n) {
  for (int64_t i = 0; i < rows; ++i, from += ld) {
    T* values = to[i];
    const T f = factor[i];
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) values[j] = f * from[j] + bias[j];
  }
}

template <typename T>
MASKCONV_INLINE void sum_rows_to(const CountedRows<T>& block, T* sums) {
  for (int64_t row = 0; row < block.rows; ++row) {
    if (block.valid && block.valid[row * block.valid_stride] == 0) continue;
    const T* values = block.values + row * block.stride;
#pragma omp simd
    for (int64_t i = 0; i < block.columns; ++i) sums[i] += values[i];
  }
}

}  // namespace

void widen(const float* from, float* to, int64_t n) { std::memcpy(to, from, n * sizeof(float)); }
void widen(const double* from, double* to, int64_t n) { std::memcpy(to, from, n * sizeof(double)); }
MASKCONV_CLONES void widen(const BFloat16* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = widen(from[i]);
}
MASKCONV_CLONES void widen(const Half* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = widen(from[i]);
}

void narrow(const float* from, float* to, int64_t n) { std::memcpy(to, from, n * sizeof(float)); }
void narrow(const double* from, double* to, int64_t n) { std::memcpy(to, from, n * sizeof(double)); }
MASKCONV_CLONES void narrow(const float* from, BFloat16* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = narrow<BFloat16>(from[i]);
}
MASKCONV_CLONES void narrow(const float* from, Half* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = narrow<Half>(from[i]);
}

MASKCONV_CLONES void apply_mask(float* values, const uint8_t* mask, int64_t n) {
  apply_mask_to(values, mask, n);
}
MASKCONV_CLONES void apply_mask(double* values, const uint8_t* mask, int64_t n) {
  apply_mask_to(values, mask, n);
}
MASKCONV_CLONES void apply_mask(float* values, const float* mask, int64_t n) {
  apply_soft_mask_to(values, mask, n);
}
MASKCONV_CLONES void apply_mask(double* values, const double* mask, int64_t n) {
  apply_soft_mask_to(values, mask, n);
}

MASKCONV_CLONES void finish_rows(const float* from, int64_t ld, float* const* to, const float* factor,
                                 const float* bias, int64_t rows, int64_t n) {
  finish_rows_to(from, ld, to, factor, bias, rows, n);
}
MASKCONV_CLONES void finish_rows(const double* from, int64_t ld, double* const* to, const double* factor,
                                 const double* bias, int64_t rows, int64_t n) {
  finish_rows_to(from, ld, to, factor, bias, rows, n);
}

MASKCONV_CLONES void scale_and_add(float* values, float factor, const float* bias, int64_t n) {
  scale_and_add_to(values, factor, bias, n);
}
MASKCONV_CLONES void scale_and_add(double* values, double factor, const double* bias, int64_t n) {
  scale_and_add_to(values, factor, bias, n);
}

MASKCONV_CLONES void sum_rows(const CountedRows<float>& block, float* sums) { sum_rows_to(block, sums); }
MASKCONV_CLONES void sum_rows(const CountedRows<double>& block, double* sums) { sum_rows_to(block, sums); }

MASKCONV_CLONES void accumulate_valid(int32_t* sums, const uint8_t* mask, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += mask[i] != 0;
}

MASKCONV_CLONES void accumulate(float* sums, const float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += values[i];
}
MASKCONV_CLONES void accumulate(double* sums, const double* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += values[i];
}
MASKCONV_CLONES void accumulate(int32_t* sums, const int32_t* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += values[i];
}

}  // namespace maskconv::cpu
