// What planning has to know of a CUDA device.
#pragma once

#include <compare>
#include <cstdint>

namespace maskconv {

// The defaults are an H200's.
struct DeviceProperties {
  int32_t compute_capability = 90;  // major * 10 + minor
  int32_t multiprocessors = 132;
  int32_t shared_bytes_per_block = 232448;  // the opt-in maximum
  double clock_ghz = 1.98;
  double memory_gb_per_s = 4800;

  auto operator<=>(const DeviceProperties&) const = default;
};

}  // namespace maskconv
