// A block's shared memory, every byte of which remembers who touched it last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "emulation/access.h"
#include "emulation/error.h"

namespace maskconv::emulation {

class SharedMemory {
 public:
  SharedMemory(size_t bytes, SiteTable& sites);

  unsigned char* data() { return data_; }
  size_t bytes() const { return bytes_; }

  void begin_block(uint32_t first_epoch);

  // Throws unless [address, address + bytes) is shared memory aligned to `bytes`; returns its offset.
  size_t check(const void* address, size_t bytes, const char* what, const Site& site) const;

  // Each throws on a race or on bytes a copy in flight will overwrite. `warp_wide`: all lanes of the warp see
  // what is read, so that even the lane that wrote it must have synchronised with the others. Returns how
  // many of the bytes no one wrote in this block.
  unsigned read(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks, bool warp_wide);
  void write(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks);
  void write_atomically(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks);

  // A copy's life: from issue to landing its bytes may not be touched; landing writes them.
  void issue(size_t offset, size_t bytes, const Access& now, const WarpClocks& clocks);
  void land(size_t offset, size_t bytes, const Access& now);

 private:
  struct Byte {
    Access write;
    Access reads[2];  // by different threads, of different warps if there were such since the write
    Access in_flight;
    bool atomic = false;
    Access other_atomic;  // if atomic: the last one by another thread

    void overwrite(const Access& now) {
      *this = Byte();
      write = now;
    }
  };

  // What is done to a byte, as reports word it.
  struct Deed {
    const char* name;
    const Access& by;
    const WarpClocks& clocks;
  };

  void refuse_in_flight(size_t offset, const Byte& byte, const Deed& now) const {
    if (byte.in_flight.epoch != 0) fail_in_flight(offset, byte, now);
  }
  void refuse_race(size_t offset, const char* then_did, const Access& then, const Deed& now) const {
    if (!ordered(then, now.by, now.clocks)) fail_race(offset, then_did, then, now);
  }
  void refuse_writes(size_t offset, const Byte& byte, const Deed& now) const {
    refuse_race(offset, "write", byte.write, now);
    if (byte.atomic) refuse_race(offset, "atomic", byte.other_atomic, now);
  }
  void refuse_reads(size_t offset, const Byte& byte, const Deed& now) const {
    for (const Access& read : byte.reads) refuse_race(offset, "read", read, now);
  }
  [[noreturn]] void fail_in_flight(size_t offset, const Byte& byte, const Deed& now) const;
  [[noreturn]] void fail_race(size_t offset, const char* then_did, const Access& then, const Deed& now) const;

  SiteTable& sites_;
  size_t bytes_;
  std::unique_ptr<unsigned char[]> storage_;
  unsigned char* data_;
  std::vector<Byte> shadow_;
  uint32_t first_epoch_ = 1;
};

}  // namespace maskconv::emulation
