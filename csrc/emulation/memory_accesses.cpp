// The machine's accesses to memory: each is checked, remembered, counted, then carried out.
#include <cstring>

#include "emulation/machine.h"

namespace maskconv::emulation {

Access Machine::access(const Site& site, int thread) {
  return {epoch_, threads_[thread].clock, static_cast<uint16_t>(thread), sites_.id(site)};
}

Access Machine::access(const Site& site) { return access(site, running_); }

uint64_t Machine::touch_global(const void* address, size_t bytes, bool write, const char* what,
                               const Access& now) {
  return memory_.access(address, bytes, write, what, {now, first_epoch_, warp().clocks, sites_});
}

void Machine::load_global(void* value, const void* address, size_t bytes, const Site& site) {
  maybe_preempt();
  const Access now = access(site);
  const uint64_t at = touch_global(address, bytes, /*write=*/false, "global load", now);
  warp().requests.add(lane(), RequestKind::kGlobalLoad, now.site, at, static_cast<unsigned>(bytes));
  std::memcpy(value, address, bytes);
}

void Machine::store_global(void* address, const void* value, size_t bytes, const Site& site) {
  maybe_preempt();
  const Access now = access(site);
  const uint64_t at = touch_global(address, bytes, /*write=*/true, "global store", now);
  warp().requests.add(lane(), RequestKind::kGlobalStore, now.site, at, static_cast<unsigned>(bytes));
  std::memcpy(address, value, bytes);
}

void Machine::load_shared(void* value, const void* address, size_t bytes, const Site& site) {
  maybe_preempt();
  const size_t offset = shared_.check(address, bytes, "shared load", site);
  const Access now = access(site);
  counters_[Count::kUninitializedSharedBytesRead] +=
      shared_.read(offset, bytes, now, warp().clocks, /*warp_wide=*/false);
  warp().requests.add(lane(), RequestKind::kSharedLoad, now.site, offset, static_cast<unsigned>(bytes));
  std::memcpy(value, address, bytes);
}

void Machine::store_shared(void* address, const void* value, size_t bytes, const Site& site) {
  maybe_preempt();
  const size_t offset = shared_.check(address, bytes, "shared store", site);
  const Access now = access(site);
  shared_.write(offset, bytes, now, warp().clocks);
  warp().requests.add(lane(), RequestKind::kSharedStore, now.site, offset, static_cast<unsigned>(bytes));
  std::memcpy(address, value, bytes);
}

void Machine::atomic_or_shared(uint32_t* address, uint32_t bits, const Site& site) {
  maybe_preempt();
  const size_t offset = shared_.check(address, sizeof(bits), "shared atomic", site);
  shared_.write_atomically(offset, sizeof(bits), access(site), warp().clocks);
  *address |= bits;
}

void Machine::cp_async(void* shared, const void* global, size_t bytes, bool pred, const Site& site) {
  maybe_preempt();
  const size_t offset = shared_.check(shared, bytes, "cp.async destination", site);
  const Access now = access(site);
  const uint64_t source = pred ? touch_global(global, bytes, /*write=*/false, "cp.async source", now) : 0;
  shared_.issue(offset, bytes, now, warp().clocks);
  self().copies.push_back({offset, global, bytes, pred, now.site});
  WarpRequests& requests = warp().requests;
  const auto size = static_cast<unsigned>(bytes);
  requests.add(lane(), RequestKind::kAsyncGlobal, now.site, source, size, pred);
  requests.add(lane(), RequestKind::kAsyncShared, now.site, offset, size);
  if (!pred) counters_[Count::kCpAsyncZeroFilledBytes] += bytes;
}

void Machine::cp_async_commit() {
  Thread& me = self();
  size_t committed = 0;
  for (const size_t size : me.group_sizes) committed += size;
  me.group_sizes.push_back(me.copies.size() - committed);
}

void Machine::cp_async_wait(size_t groups_left) {
  Thread& me = self();
  if (me.group_sizes.size() <= groups_left) return;
  const auto last = me.group_sizes.end() - static_cast<std::ptrdiff_t>(groups_left);
  size_t landing = 0;
  for (auto size = me.group_sizes.begin(); size != last; ++size) landing += *size;
  for (size_t i = 0; i < landing; ++i) {
    const AsyncCopy& copy = me.copies[i];
    Access landed = access({}, running_);
    landed.site = copy.site;
    shared_.land(copy.offset, copy.bytes, landed);
    unsigned char* const destination = shared_.data() + copy.offset;
    if (copy.pred) {
      std::memcpy(destination, copy.source, copy.bytes);
    } else {
      std::memset(destination, 0, copy.bytes);
    }
  }
  me.group_sizes.erase(me.group_sizes.begin(), last);
  me.copies.erase(me.copies.begin(), me.copies.begin() + static_cast<std::ptrdiff_t>(landing));
}

void Machine::read_matrix(const void* const (&rows)[kMatrixRows], int first_lane,
                          uint32_t (&words)[kWarpSize], const Site& site) {
  uint64_t offsets[kWarpSize] = {};
  for (int row = 0; row < kMatrixRows; ++row) {
    const int lane = first_lane + row;
    const int thread = running_ - this->lane() + lane;
    try {
      const size_t offset = shared_.check(rows[row], kMatrixRowBytes, "ldmatrix row", site);
      counters_[Count::kUninitializedSharedBytesRead] +=
          shared_.read(offset, kMatrixRowBytes, access(site, thread), warp().clocks, /*warp_wide=*/true);
      offsets[row] = offset;
    } catch (Error& error) {
      error.thread = thread;
      throw;
    }
    std::memcpy(&words[row * kMatrixRowWords], rows[row], kMatrixRowBytes);
  }
  constexpr uint32_t kRowLanes = (1u << kMatrixRows) - 1;
  counters_[Count::kLdmatrixBankConflicts] += bank_conflicts(offsets, kRowLanes, kMatrixRowBytes);
}

}  // namespace maskconv::emulation
