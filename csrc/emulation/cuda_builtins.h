// The CUDA built-ins kernels use, with a host meaning. What is missing is missing on purpose: a kernel that
// needs
// __shared__ variables or raw atomics would escape the checks, and does not compile here.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "device/site.h"
#include "emulation/machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ [[gnu::noinline]]
#define __grid_constant__
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Set by the scheduler at every switch.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace maskconv::emulation {

// Calls op(values of each lane, mask) once for the warp; op writes each lane's result over its value.
template <class Lane, class Op>
void warp_op(const char* name, uint32_t mask, Lane& mine, Op, const Site& site) {
  static_assert(std::is_empty_v<Op>);
  Machine::current().meet(
      name, mask, &mine,
      [](Machine&, const Machine::Arguments& arguments, uint32_t lanes) {
        std::array<Lane*, kWarpSize> values;
        for (int lane = 0; lane < kWarpSize; ++lane) values[lane] = static_cast<Lane*>(arguments[lane]);
        Op{}(values, lanes);
      },
      site);
}

template <class T>
struct ShuffleLane {
  T value;
  int source;
  T result;
};

template <class T>
T shuffle(const char* name, uint32_t mask, T value, int source, const Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2));
  if ((mask >> source & 1) == 0) {
    throw Error(kind::kDivergence,
                "shuffle at " + to_string(site) + " reads lane " + std::to_string(source) +
                    ", which its mask leaves out",
                {site});
  }
  ShuffleLane<T> mine{value, source, value};
  const auto exchange = [](const std::array<ShuffleLane<T>*, kWarpSize>& lanes, uint32_t active) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (active >> lane & 1) lanes[lane]->result = lanes[lanes[lane]->source]->value;
    }
  };
  warp_op(name, mask, mine, exchange, site);
  return mine.result;
}

struct ReduceLane {
  uint32_t value;
};

template <class Combine>
uint32_t reduce(const char* name, uint32_t mask, uint32_t value, Combine, const Site& site) {
  ReduceLane mine{value};
  const auto combine_all = [](const std::array<ReduceLane*, kWarpSize>& lanes, uint32_t active) {
    uint32_t total = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (active >> lane & 1) total = Combine{}(total, lanes[lane]->value, lane);
    }
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if (active >> lane & 1) lanes[lane]->value = total;
    }
  };
  warp_op(name, mask, mine, combine_all, site);
  return mine.value;
}

}  // namespace maskconv::emulation

inline void __syncthreads(maskconv::Site site = maskconv::Site::here()) {
  maskconv::emulation::Machine::current().barrier(false, "__syncthreads", site);
}
inline int __syncthreads_count(int predicate, maskconv::Site site = maskconv::Site::here()) {
  return maskconv::emulation::Machine::current().barrier(predicate != 0, "__syncthreads_count", site);
}
inline int __syncthreads_or(int predicate, maskconv::Site site = maskconv::Site::here()) {
  return maskconv::emulation::Machine::current().barrier(predicate != 0, "__syncthreads_or", site) > 0;
}
inline int __syncthreads_and(int predicate, maskconv::Site site = maskconv::Site::here()) {
  return maskconv::emulation::Machine::current().barrier(predicate == 0, "__syncthreads_and", site) == 0;
}
inline void __syncwarp(uint32_t mask = maskconv::emulation::kAllLanes,
                       maskconv::Site site = maskconv::Site::here()) {
  maskconv::emulation::Machine::current().sync_warp(mask, site);
}

inline uint32_t __ballot_sync(uint32_t mask, int predicate, maskconv::Site site = maskconv::Site::here()) {
  const auto vote = [](uint32_t total, uint32_t value, int lane) { return total | value << lane; };
  return maskconv::emulation::reduce("__ballot_sync", mask, predicate != 0, vote, site);
}
inline int __any_sync(uint32_t mask, int predicate, maskconv::Site site = maskconv::Site::here()) {
  const auto either = [](uint32_t total, uint32_t value, int) { return total | value; };
  return static_cast<int>(maskconv::emulation::reduce("__any_sync", mask, predicate != 0, either, site));
}
inline int __all_sync(uint32_t mask, int predicate, maskconv::Site site = maskconv::Site::here()) {
  const auto either = [](uint32_t total, uint32_t value, int) { return total | value; };
  return maskconv::emulation::reduce("__all_sync", mask, predicate == 0, either, site) == 0;
}
inline uint32_t __reduce_or_sync(uint32_t mask, uint32_t value,
                                 maskconv::Site site = maskconv::Site::here()) {
  const auto either = [](uint32_t total, uint32_t lane_value, int) { return total | lane_value; };
  return maskconv::emulation::reduce("__reduce_or_sync", mask, value, either, site);
}
inline uint32_t __reduce_add_sync(uint32_t mask, uint32_t value,
                                  maskconv::Site site = maskconv::Site::here()) {
  const auto sum = [](uint32_t total, uint32_t lane_value, int) { return total + lane_value; };
  return maskconv::emulation::reduce("__reduce_add_sync", mask, value, sum, site);
}

// A segment is `width` lanes; a source outside the caller's segment means the caller's own value, except for
// __shfl_sync, where it wraps.
template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32,
              maskconv::Site site = maskconv::Site::here()) {
  const int first = maskconv::emulation::Machine::current().lane() & -width;
  return maskconv::emulation::shuffle("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 maskconv::Site site = maskconv::Site::here()) {
  const int lane = maskconv::emulation::Machine::current().lane();
  const int source = lane - static_cast<int>(delta);
  const int from = source < (lane & -width) ? lane : source;
  return maskconv::emulation::shuffle("__shfl_up_sync", mask, value, from, site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   maskconv::Site site = maskconv::Site::here()) {
  const int lane = maskconv::emulation::Machine::current().lane();
  const int source = lane + static_cast<int>(delta);
  const int from = source >= (lane & -width) + width ? lane : source;
  return maskconv::emulation::shuffle("__shfl_down_sync", mask, value, from, site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = 32,
                  maskconv::Site site = maskconv::Site::here()) {
  const int lane = maskconv::emulation::Machine::current().lane();
  const int source = lane ^ lane_mask;  // a lower segment may be read, a higher one not
  const int from = source >= (lane & -width) + width ? lane : source;
  return maskconv::emulation::shuffle("__shfl_xor_sync", mask, value, from, site);
}

inline int __popc(uint32_t bits) { return std::popcount(bits); }
inline int __popcll(uint64_t bits) { return std::popcount(bits); }
inline int __clz(uint32_t bits) { return std::countl_zero(bits); }
inline int __ffs(uint32_t bits) { return bits == 0 ? 0 : 1 + std::countr_zero(bits); }
inline int __ffsll(uint64_t bits) { return bits == 0 ? 0 : 1 + std::countr_zero(bits); }
