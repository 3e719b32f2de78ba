#include "emulation/shared_memory.h"

#include <cstring>

namespace maskconv::emulation {
namespace {

constexpr size_t kAlignment = 1024;      // what kernels may assume of dynamic_smem
constexpr unsigned char kPoison = 0xff;  // a NaN in every float type, an unlikely index in every integer type

}  // namespace

SharedMemory::SharedMemory(size_t bytes, SiteTable& sites)
    : sites_(sites), bytes_(bytes), storage_(new unsigned char[bytes + kAlignment]), shadow_(bytes) {
  const auto address = reinterpret_cast<uintptr_t>(storage_.get());
  data_ = storage_.get() + (kAlignment - address % kAlignment) % kAlignment;
}

void SharedMemory::begin_block(uint32_t first_epoch) {
  std::memset(data_, kPoison, bytes_);
  first_epoch_ = first_epoch;
}

size_t SharedMemory::check(const void* pointer, size_t bytes, const char* what, const Site& site) const {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const auto begin = reinterpret_cast<uintptr_t>(data_);
  const auto place = [&] {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes at " + to_string(site) + ": byte " +
           std::to_string(static_cast<int64_t>(address - begin)) + " of " + std::to_string(bytes_) +
           " bytes of shared memory";
  };
  if (address < begin || address + bytes > begin + bytes_) {
    throw Error(kind::kOutOfBounds, "out-of-bounds " + place(), {site});
  }
  if (address % bytes != 0) throw Error(kind::kMisaligned, "misaligned " + place(), {site});
  return address - begin;
}

void SharedMemory::fail_in_flight(size_t offset, const Byte& byte, const Deed& now) const {
  throw Error(kind::kAsync,
              std::string(now.name) + " by " + to_string(now.by, sites_) + " touches shared byte " +
                  std::to_string(offset) + " while a copy issued by " + to_string(byte.in_flight, sites_) +
                  " is in flight: no wait of that thread has covered it",
              {sites_[now.by.site], sites_[byte.in_flight.site]});
}

void SharedMemory::fail_race(size_t offset, const char* then_did, const Access& then, const Deed& now) const {
  throw Error(kind::kRace,
              std::string(now.name) + " by " + to_string(now.by, sites_) + " of shared byte " +
                  std::to_string(offset) + ", with no barrier since the " + then_did + " by " +
                  to_string(then, sites_),
              {sites_[now.by.site], sites_[then.site]});
}

unsigned SharedMemory::read(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks,
                            bool warp_wide) {
  const Deed deed{"read", now, clocks};
  unsigned unwritten = 0;
  for (size_t at = offset; at < offset + bytes; ++at) {
    Byte& byte = shadow_[at];
    refuse_in_flight(at, byte, deed);
    refuse_writes(at, byte, deed);
    if (warp_wide && byte.write.epoch == now.epoch && byte.write.thread == now.thread) {
      Access neighbour = now;  // any other lane: it sees the bytes too
      neighbour.thread = now.thread ^ 1;
      refuse_race(at, "write", byte.write, {"warp-wide read", neighbour, clocks});
    }
    if (byte.write.epoch < first_epoch_) ++unwritten;

    Access(&reads)[2] = byte.reads;  // reads[0] is the latest
    const bool another = reads[0].epoch == now.epoch && reads[0].thread != now.thread;
    if (another) {
      const auto warp = [](const Access& access) { return access.thread / kWarpSize; };
      const bool other_warp_would_be_lost =
          reads[1].epoch == now.epoch && warp(reads[0]) == warp(now) && warp(reads[1]) != warp(now);
      if (!other_warp_would_be_lost) reads[1] = reads[0];
    }
    reads[0] = now;
  }
  return unwritten;
}

void SharedMemory::write(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks) {
  const Deed deed{"write", now, clocks};
  for (size_t at = offset; at < offset + bytes; ++at) {
    Byte& byte = shadow_[at];
    refuse_in_flight(at, byte, deed);
    refuse_writes(at, byte, deed);
    refuse_reads(at, byte, deed);
    byte.overwrite(now);
  }
}

void SharedMemory::write_atomically(size_t offset, size_t bytes, const Access& now,
                                    const WarpClocks& clocks) {
  const Deed deed{"atomic", now, clocks};
  for (size_t at = offset; at < offset + bytes; ++at) {
    Byte& byte = shadow_[at];
    refuse_in_flight(at, byte, deed);
    if (!byte.atomic) refuse_writes(at, byte, deed);  // atomics do not race with each other
    refuse_reads(at, byte, deed);
    const Access other = byte.write.thread == now.thread ? byte.other_atomic : byte.write;
    const Access other_atomic = byte.atomic ? other : Access();
    byte.overwrite(now);
    byte.atomic = true;
    byte.other_atomic = other_atomic;
  }
}

void SharedMemory::issue(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks) {
  const Deed deed{"asynchronous copy", now, clocks};
  for (size_t at = offset; at < offset + bytes; ++at) {
    Byte& byte = shadow_[at];
    refuse_in_flight(at, byte, deed);
    refuse_writes(at, byte, deed);
    refuse_reads(at, byte, deed);
    byte.in_flight = now;
  }
}

void SharedMemory::land(size_t offset, size_t bytes, const Access& now) {
  for (size_t at = offset; at < offset + bytes; ++at) shadow_[at].overwrite(now);
}

}  // namespace maskconv::emulation
