// Who touched memory, when and from which line: what races are found by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device/site.h"
#include "emulation/error.h"

namespace maskconv::emulation {

inline constexpr int kWarpSize = 32;

// Source positions as small numbers, so that a shadow byte can hold several.
class SiteTable {
 public:
  uint16_t id(const Site& site);
  const Site& operator[](uint16_t id) const { return sites_[id]; }

 private:
  static constexpr size_t kSlots = 1024;  // direct-mapped cache: kernels touch memory from far fewer lines

  std::vector<Site> sites_;
  uint16_t slots_[kSlots] = {};
};

// When a thread touched a byte. Threads of a block are ordered by block barriers (`epoch` counts them, over
// all blocks); within an epoch, lanes of one warp by __syncwarp (`clock` counts a thread's own).
struct Access {
  uint32_t epoch = 0;  // 0: never
  uint32_t clock = 0;
  uint16_t thread = 0;
  uint16_t site = 0;
};

// What the lanes of a warp have synchronised with since the last block barrier: an access of lane b came
// before what lane a does now iff its clock is at most seen[a][b].
struct WarpClocks {
  uint32_t seen[kWarpSize][kWarpSize] = {};
};

// Whether `then` is known to have happened before what the same block does now.
inline bool ordered(const Access& then, const Access& now, const WarpClocks& clocks) {
  if (then.epoch != now.epoch || then.thread == now.thread) return true;
  if (then.thread / kWarpSize != now.thread / kWarpSize) return false;
  return clocks.seen[now.thread % kWarpSize][then.thread % kWarpSize] >= then.clock;
}

inline std::string to_string(const Access& access, const SiteTable& sites) {
  return "thread " + std::to_string(access.thread) + " at " + to_string(sites[access.site]);
}

}  // namespace maskconv::emulation
