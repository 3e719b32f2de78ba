// Puts single lanes' accesses back together into the warp requests the hardware would see.
//
// Threads run one at a time here, so which lanes executed an instruction together has to be inferred: the
// i-th execution of one source line by each lane since the warp last met (at a barrier or a warp collective)
// is one request. That is exact for code without divergence, and for divergence that ends at such a meeting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulation/access.h"
#include "emulation/counters.h"

namespace maskconv::emulation {

enum class RequestKind {
  kGlobalLoad,
  kGlobalStore,
  kSharedLoad,
  kSharedStore,
  kAsyncGlobal,
  kAsyncShared,
  kEnd
};

// Passes over the 32 banks beyond the fewest that lanes' accesses of `bytes` at `offsets` need.
uint64_t bank_conflicts(const uint64_t (&offsets)[kWarpSize], uint32_t lanes, unsigned bytes);

class WarpRequests {
 public:
  explicit WarpRequests(Counters& counters) : counters_(counters) {}

  // An inactive lane takes part in the instruction without an access (a predicated-off copy reads nothing).
  void add(int lane, RequestKind kind, uint16_t site, uint64_t address, unsigned bytes, bool active = true);

  // The warp met: counts and forgets what was gathered.
  void flush();

 private:
  struct Request {
    uint64_t addresses[kWarpSize];
    uint32_t lanes;
    unsigned bytes;
  };
  struct Instruction {
    RequestKind kind;
    uint32_t executions[kWarpSize];
    std::vector<Request> requests;
  };

  Instruction& instruction(RequestKind kind, uint16_t site, unsigned bytes);
  void count(RequestKind kind, const Request& request);

  Counters& counters_;
  std::vector<Instruction> instructions_;
  std::vector<uint16_t> index_;    // by site, kind and size: 1 + position in instructions_, 0 if none
  std::vector<uint16_t> touched_;  // positions in instructions_ since the last flush
};

}  // namespace maskconv::emulation
