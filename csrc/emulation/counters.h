// What a launch did, in figures that do not depend on the machine it ran on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace maskconv::emulation {

// Requests are warp-wide instructions; bytes are what their lanes asked for; sectors are the distinct 32-byte
// pieces of global memory of each request; bank_conflicts are the passes over shared memory beyond the fewest
// possible.
enum class Count {
  kMma,
  kLdmatrix,
  kLdmatrixBankConflicts,
  kCpAsyncRequests,
  kCpAsyncBytes,
  kCpAsyncSectors,
  kCpAsyncZeroFilledBytes,
  kCpAsyncBankConflicts,
  kGlobalLoadRequests,
  kGlobalLoadBytes,
  kGlobalLoadSectors,
  kGlobalStoreRequests,
  kGlobalStoreBytes,
  kGlobalStoreSectors,
  kSharedLoadRequests,
  kSharedLoadBytes,
  kSharedLoadBankConflicts,
  kSharedStoreRequests,
  kSharedStoreBytes,
  kSharedStoreBankConflicts,
  kBarriers,
  kUninitializedSharedBytesRead,
  kEnd
};

inline constexpr size_t kCounts = static_cast<size_t>(Count::kEnd);

inline constexpr std::array<const char*, kCounts> kCountNames = {
    "mma",
    "ldmatrix",
    "ldmatrix_bank_conflicts",
    "cp_async_requests",
    "cp_async_bytes",
    "cp_async_sectors",
    "cp_async_zero_filled_bytes",
    "cp_async_bank_conflicts",
    "global_load_requests",
    "global_load_bytes",
    "global_load_sectors",
    "global_store_requests",
    "global_store_bytes",
    "global_store_sectors",
    "shared_load_requests",
    "shared_load_bytes",
    "shared_load_bank_conflicts",
    "shared_store_requests",
    "shared_store_bytes",
    "shared_store_bank_conflicts",
    "barriers",
    "uninitialized_shared_bytes_read",
};

struct Counters {
  std::array<uint64_t, kCounts> values{};
  std::map<std::string, uint64_t> named;  // ptx::count

  uint64_t& operator[](Count count) { return values[static_cast<size_t>(count)]; }
};

}  // namespace maskconv::emulation
