// The arrays a kernel was given: every global access must fall inside one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "emulation/access.h"
#include "emulation/error.h"

namespace maskconv::emulation {

class GlobalMemory {
 public:
  void add(const void* begin, size_t bytes, bool writable, std::string name);

  // A kernel starts; it is ordered after all that came before.
  void begin_launch();

  struct Actor {
    Access now;
    uint32_t first_epoch;  // of the block that runs now: nothing orders the threads of two blocks
    const WarpClocks& clocks;
    const SiteTable& sites;
  };

  // Throws unless [address, address + bytes) lies in one buffer that permits the access, is aligned to its
  // size, and was not written (or, to be written, not even read) by a thread that nothing orders before this
  // one. Returns an address that does not depend on where the host put the buffer, which begins a sector as
  // on the device.
  uint64_t access(const void* address, size_t bytes, bool write, const char* what, const Actor& actor);

 private:
  struct Byte {
    Access write;
    Access read;  // the latest
  };

  struct Buffer {
    uintptr_t begin, end;
    bool writable;
    std::string name;
    std::vector<Byte> shadow;  // of writable buffers: the others cannot race
  };

  Buffer* find(uintptr_t begin, uintptr_t end);
  std::string describe(uintptr_t address) const;
  void refuse_race(const Access& then, const char* then_did, const char* what, const Buffer& buffer,
                   size_t offset, const Actor& actor) const;

  std::vector<Buffer> buffers_;
  size_t last_ = 0;  // accesses come in runs to one buffer
};

}  // namespace maskconv::emulation
