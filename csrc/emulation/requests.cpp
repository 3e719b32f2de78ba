#include "emulation/requests.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace maskconv::emulation {
namespace {

constexpr unsigned kBanks = 32;
constexpr unsigned kBankBytes = 4;
constexpr unsigned kSectorBytes = 32;
constexpr size_t kKinds = static_cast<size_t>(RequestKind::kEnd);
constexpr size_t kSizes = 5;  // accesses of 1, 2, 4, 8 and 16 bytes

uint64_t distinct_sectors(const uint64_t (&addresses)[kWarpSize], uint32_t lanes) {
  uint64_t sectors[kWarpSize];
  size_t count = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {  // an aligned access of at most 16 bytes lies in one sector
    if (lanes >> lane & 1) sectors[count++] = addresses[lane] / kSectorBytes;
  }
  std::sort(sectors, sectors + count);
  return static_cast<uint64_t>(std::unique(sectors, sectors + count) - sectors);
}

}  // namespace

uint64_t bank_conflicts(const uint64_t (&offsets)[kWarpSize], uint32_t lanes, unsigned bytes) {
  // One pass moves 128 bytes: 8-byte accesses go by half warps, 16-byte accesses by quarter warps.
  const int lanes_per_pass = static_cast<int>(kBanks * kBankBytes / std::max(bytes, kBankBytes));
  const unsigned words_per_lane = std::max(bytes / kBankBytes, 1u);
  uint64_t conflicts = 0;
  for (int first = 0; first < kWarpSize; first += lanes_per_pass) {
    uint64_t words[kBanks];
    unsigned count = 0;
    for (int lane = first; lane < first + lanes_per_pass; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      for (unsigned i = 0; i < words_per_lane; ++i) words[count++] = offsets[lane] / kBankBytes + i;
    }
    std::sort(words, words + count);  // lanes that want the same word share one read of it
    unsigned per_bank[kBanks] = {};
    for (const uint64_t *word = words, *end = std::unique(words, words + count); word != end; ++word) {
      ++per_bank[*word % kBanks];
    }
    const unsigned passes = *std::max_element(std::begin(per_bank), std::end(per_bank));
    if (passes > 1) conflicts += passes - 1;
  }
  return conflicts;
}

WarpRequests::Instruction& WarpRequests::instruction(RequestKind kind, uint16_t site, unsigned bytes) {
  const size_t key =
      (site * kKinds + static_cast<size_t>(kind)) * kSizes + static_cast<size_t>(std::countr_zero(bytes));
  if (key >= index_.size()) index_.resize(key + 1, 0);
  if (index_[key] == 0) {
    instructions_.push_back({kind, {}, {}});
    index_[key] = static_cast<uint16_t>(instructions_.size());
  }
  Instruction& found = instructions_[index_[key] - 1];
  if (found.requests.empty()) touched_.push_back(static_cast<uint16_t>(index_[key] - 1));
  return found;
}

void WarpRequests::add(int lane, RequestKind kind, uint16_t site, uint64_t address, unsigned bytes,
                       bool active) {
  Instruction& instruction = this->instruction(kind, site, bytes);
  const size_t execution = instruction.executions[lane]++;
  if (execution == instruction.requests.size()) instruction.requests.push_back({{}, 0, bytes});
  Request& request = instruction.requests[execution];
  if (active) {
    request.addresses[lane] = address;
    request.lanes |= 1u << lane;
  }
}

void WarpRequests::count(RequestKind kind, const Request& request) {
  if (request.lanes == 0) return;
  const uint64_t bytes = static_cast<uint64_t>(std::popcount(request.lanes)) * request.bytes;
  const auto global = [&](Count requests, Count total_bytes, Count sectors) {
    counters_[requests] += 1;
    counters_[total_bytes] += bytes;
    counters_[sectors] += distinct_sectors(request.addresses, request.lanes);
  };
  const auto shared = [&](Count requests, Count total_bytes, Count conflicts) {
    counters_[requests] += 1;
    counters_[total_bytes] += bytes;
    counters_[conflicts] += bank_conflicts(request.addresses, request.lanes, request.bytes);
  };
  switch (kind) {
    case RequestKind::kGlobalLoad:
      return global(Count::kGlobalLoadRequests, Count::kGlobalLoadBytes, Count::kGlobalLoadSectors);
    case RequestKind::kGlobalStore:
      return global(Count::kGlobalStoreRequests, Count::kGlobalStoreBytes, Count::kGlobalStoreSectors);
    case RequestKind::kSharedLoad:
      return shared(Count::kSharedLoadRequests, Count::kSharedLoadBytes, Count::kSharedLoadBankConflicts);
    case RequestKind::kSharedStore:
      return shared(Count::kSharedStoreRequests, Count::kSharedStoreBytes, Count::kSharedStoreBankConflicts);
    case RequestKind::kAsyncGlobal:
      counters_[Count::kCpAsyncBytes] += bytes;
      counters_[Count::kCpAsyncSectors] += distinct_sectors(request.addresses, request.lanes);
      return;
    case RequestKind::kAsyncShared:  // every lane of a copy writes shared memory, so this counts the requests
      counters_[Count::kCpAsyncRequests] += 1;
      counters_[Count::kCpAsyncBankConflicts] +=
          bank_conflicts(request.addresses, request.lanes, request.bytes);
      return;
    case RequestKind::kEnd:
      return;
  }
}

void WarpRequests::flush() {
  for (const uint16_t at : touched_) {
    Instruction& instruction = instructions_[at];
    for (const Request& request : instruction.requests) count(instruction.kind, request);
    instruction.requests.clear();
    std::fill(std::begin(instruction.executions), std::end(instruction.executions), 0u);
  }
  touched_.clear();
}

}  // namespace maskconv::emulation
