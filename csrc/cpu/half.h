// 16-bit floats by their bits. The conversions are branch-free integer code, which every compiler vectorises,
// so they need no instruction set beyond the baseline.
#pragma once

#include <bit>
#include <cstdint>

namespace maskconv::cpu {

struct BFloat16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

// By bit masks: a conditional would be compiled to a branch around the floating-point half of it, and stop
// the vectoriser.
inline uint32_t select(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - uint32_t{condition};
  return (yes & mask) | (no & ~mask);
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(BFloat16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

inline float widen(Half value) {
  constexpr uint32_t kRebias = (127 - 15) << 23;
  constexpr float kSubnormalUnit = 1.0f / (1 << 24);
  const uint32_t magnitude = value.bits & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + kRebias;
  const uint32_t special = (magnitude << 13) | 0x7f800000u;  // infinity and NaN
  // Through an integer, so that flush-to-zero modes do not lose it.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * kSubnormalUnit);
  const uint32_t finite = select(magnitude < 0x0400u, subnormal, normal);
  const uint32_t sign = (uint32_t{value.bits} & 0x8000u) << 16;
  return std::bit_cast<float>(select(magnitude >= 0x7c00u, special, finite) | sign);
}

template <typename T, typename Acc>
T narrow(Acc value);

template <>
inline float narrow<float>(float value) {
  return value;
}

template <>
inline double narrow<double>(double value) {
  return value;
}

// Both round to nearest even; every NaN becomes the quiet one.
template <>
inline BFloat16 narrow<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(select(nan, 0x7fc0u, rounded))};
}

template <>
inline Half narrow<Half>(float value) {
  constexpr uint32_t kRebias = (127 - 15) << 23;
  constexpr uint32_t kMinNormal = 0x38800000u;  // 2^-14
  constexpr uint32_t kTooLarge = 0x47800000u;  // 2^16: beyond what rounding can carry into infinity by itself
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude - kRebias + 0x0fffu + (magnitude >> 13 & 1u)) >> 13;
  // Adding 1/2 aligns the last bit kept with 2^-24, and the addition rounds.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t finite = select(magnitude < kMinNormal, subnormal, normal);
  const uint32_t large = select(magnitude > 0x7f800000u, 0x7e00u, 0x7c00u);
  return {static_cast<uint16_t>(select(magnitude >= kTooLarge, large, finite) | (bits >> 16 & 0x8000u))};
}

// What a type is computed in.
template <typename T>
struct Compute {
  using type = float;
};

template <>
struct Compute<double> {
  using type = double;
};

}  // namespace maskconv::cpu
