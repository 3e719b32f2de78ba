// The host's 16-bit floats: conversions as the device does them (round to nearest even, one canonical NaN).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace maskconv {

struct f16 {
  uint16_t bits = 0;
};

struct bf16 {
  uint16_t bits = 0;
};

struct tf32 {  // a float; tensor cores round it to TF32 when they multiply
  float value = 0;
};

inline constexpr uint16_t kCanonicalNan16 = 0x7fff;

inline float to_float(f16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1f;
  const uint32_t mantissa = value.bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: a multiple of 2^-24, which a float holds exactly
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  constexpr uint32_t kRebias = 127 - 15;
  const uint32_t wide_exponent = exponent == 0x1f ? 0xff : exponent + kRebias;
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

inline float to_float(bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
inline float to_float(float value) { return value; }
inline float to_float(tf32 value) { return value.value; }

namespace detail {

inline f16 to_f16(float value) {
  const uint32_t wide = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((wide >> 16) & 0x8000);
  if (std::isnan(value)) return {kCanonicalNan16};
  const float magnitude = std::fabs(value);
  constexpr float kSmallestNormal = 0x1p-14f;
  constexpr float kRoundsToInfinity =
      65520.0f;  // half way between the largest f16 and 2^16: a tie goes to even
  constexpr uint16_t kInfinity = 0x7c00;
  if (magnitude >= kRoundsToInfinity) return {static_cast<uint16_t>(sign | kInfinity)};
  if (magnitude <
      kSmallestNormal) {  // counts multiples of 2^-24; 1024 of them are the smallest normal's bits
    const auto steps = static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24f));
    return {static_cast<uint16_t>(sign | steps)};
  }
  constexpr uint32_t kDropped = 13;
  constexpr uint32_t kRebias = (127u - 15u) << 23;
  const uint32_t bits = (wide & 0x7fffffff) - kRebias;
  const uint32_t to_even = (1u << (kDropped - 1)) - 1 + ((bits >> kDropped) & 1);
  return {static_cast<uint16_t>(sign | (bits + to_even) >> kDropped)};
}

inline bf16 to_bf16(float value) {
  if (std::isnan(value)) return {kCanonicalNan16};
  const uint32_t wide = std::bit_cast<uint32_t>(value);
  return {static_cast<uint16_t>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16)};
}

}  // namespace detail

template <class T>
T from_float(float value) {
  if constexpr (std::is_same_v<T, f16>) {
    return detail::to_f16(value);
  } else if constexpr (std::is_same_v<T, bf16>) {
    return detail::to_bf16(value);
  } else if constexpr (std::is_same_v<T, tf32>) {
    return {value};
  } else {
    static_assert(std::is_same_v<T, float>);
    return value;
  }
}

namespace detail {

// To odd: nothing is lost that a second rounding, to fewer bits, would need.
inline double add_to_odd(double a, double b) {
  const double sum = a + b, of_b = sum - a;
  const double lost = (a - (sum - of_b)) + (b - of_b);
  if (!std::isfinite(sum) || lost == 0) return sum;
  const auto bits = std::bit_cast<uint64_t>(sum);
  return std::bit_cast<double>((bits - (std::signbit(lost) != std::signbit(sum))) | 1);
}
inline float to_float_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (std::isnan(value) || nearest == value) return nearest;
  const auto bits = std::bit_cast<uint32_t>(nearest);
  return std::bit_cast<float>((bits - (std::fabs(double{nearest}) > std::fabs(value))) | 1);
}

}  // namespace detail

// a * b + c, rounded once. Their products are exact in double.
template <class T>
T fused_multiply_add(T a, T b, T c) {
  const double sum = detail::add_to_odd(double{to_float(a)} * to_float(b), to_float(c));
  return from_float<T>(detail::to_float_odd(sum));
}

// Bytes moved as one access.
struct alignas(8) Vec8 {
  uint32_t word[2];
};
struct alignas(16) Vec16 {
  uint32_t word[4];
};

}  // namespace maskconv
