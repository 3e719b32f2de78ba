#include "emulation/access.h"

namespace maskconv::emulation {

uint16_t SiteTable::id(const Site& site) {
  const size_t slot = (reinterpret_cast<uintptr_t>(site.file) / 16 + static_cast<size_t>(site.line)) % kSlots;
  const auto same = [&](const Site& other) { return other.file == site.file && other.line == site.line; };
  if (slots_[slot] < sites_.size() && same(sites_[slots_[slot]])) return slots_[slot];
  size_t id = 0;
  while (id < sites_.size() && !same(sites_[id])) ++id;
  if (id == sites_.size()) sites_.push_back(site);
  return slots_[slot] = static_cast<uint16_t>(id);
}

}  // namespace maskconv::emulation
