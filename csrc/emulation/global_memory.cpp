#include "emulation/global_memory.h"

#include <utility>

namespace maskconv::emulation {
namespace {

// Keeps buffers apart in the addresses handed out. What they are offset by against the alignment every host
// allocation has is kept too: such a buffer is a slice of an array.
constexpr uint64_t kBufferStride = uint64_t{1} << 40;
constexpr uintptr_t kHostAlignment = 16;

}  // namespace

void GlobalMemory::add(const void* begin, size_t bytes, bool writable, std::string name) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  buffers_.push_back({address, address + bytes, writable, std::move(name), {}});
}

void GlobalMemory::begin_launch() {
  for (Buffer& buffer : buffers_) {
    buffer.shadow.clear();
    if (buffer.writable) buffer.shadow.resize(buffer.end - buffer.begin);
  }
}

GlobalMemory::Buffer* GlobalMemory::find(uintptr_t begin, uintptr_t end) {
  const size_t count = buffers_.size();
  for (size_t i = 0; i < count; ++i) {
    const size_t at = (last_ + i) % count;
    if (begin >= buffers_[at].begin && end <= buffers_[at].end) {
      last_ = at;
      return &buffers_[at];
    }
  }
  return nullptr;
}

// Names the buffer that ends or begins nearest.
std::string GlobalMemory::describe(uintptr_t address) const {
  const Buffer* nearest = nullptr;
  uint64_t best = ~uint64_t{0};
  for (const Buffer& buffer : buffers_) {
    const uint64_t distance = address < buffer.begin ? buffer.begin - address
                              : address < buffer.end ? 0
                                                     : address - buffer.end + 1;
    if (distance < best) best = distance, nearest = &buffer;
  }
  if (nearest == nullptr) return "no buffer is registered";
  return "byte " + std::to_string(static_cast<int64_t>(address - nearest->begin)) + " of " + nearest->name +
         ", which has " + std::to_string(nearest->end - nearest->begin) + " bytes";
}

void GlobalMemory::refuse_race(const Access& then, const char* then_did, const char* what,
                               const Buffer& buffer, size_t offset, const Actor& actor) const {
  const bool other_block = then.epoch != 0 && then.epoch < actor.first_epoch;
  if (!other_block && ordered(then, actor.now, actor.clocks)) return;
  throw Error(kind::kRace,
              std::string(what) + " by " + to_string(actor.now, actor.sites) + " of byte " +
                  std::to_string(offset) + " of " + buffer.name + ", with nothing that orders it after the " +
                  then_did + " by " + to_string(then, actor.sites) + (other_block ? " of another block" : ""),
              {actor.sites[actor.now.site], actor.sites[then.site]});
}

uint64_t GlobalMemory::access(const void* pointer, size_t bytes, bool write, const char* what,
                              const Actor& actor) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const Site& site = actor.sites[actor.now.site];
  const auto place = [&] {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes at " + to_string(site) + ": " +
           describe(address);
  };
  Buffer* const buffer = find(address, address + bytes);
  if (buffer == nullptr) throw Error(kind::kOutOfBounds, "out-of-bounds " + place(), {site});
  if (address % bytes != 0) throw Error(kind::kMisaligned, "misaligned " + place(), {site});
  if (write && !buffer->writable) {
    throw Error(kind::kReadOnly, "read-only buffer written: " + place(), {site});
  }
  const size_t offset = address - buffer->begin;
  if (buffer->writable) {
    for (size_t at = offset; at < offset + bytes; ++at) {
      Byte& byte = buffer->shadow[at];
      refuse_race(byte.write, "store", what, *buffer, at, actor);
      if (write) refuse_race(byte.read, "load", what, *buffer, at, actor);
      (write ? byte.write : byte.read) = actor.now;
    }
  }
  const auto index = static_cast<uint64_t>(buffer - buffers_.data());
  return (index + 1) * kBufferStride + buffer->begin % kHostAlignment + offset;
}

}  // namespace maskconv::emulation
