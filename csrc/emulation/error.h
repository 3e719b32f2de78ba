// What a failed check throws, and the small types reports are made of.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "device/site.h"

namespace maskconv::emulation {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;

  constexpr unsigned size() const { return x * y * z; }
  constexpr Dim3 at(unsigned linear) const { return {linear % x, linear / x % y, linear / (x * y)}; }
};

inline std::string to_string(const Dim3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) +
         ")";
}

// "x.cuh:12": the file's name without its folders.
inline std::string to_string(const Site& site) {
  const std::string file = site.file;
  const size_t slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(site.line);
}

// A check found the kernel wrong. `kind` is one of the names below; sites are the lines involved, the line at
// which it was noticed first.
struct Error : std::runtime_error {
  Error(std::string kind, const std::string& message, std::vector<Site> sites)
      : std::runtime_error(message), kind(std::move(kind)), sites(std::move(sites)) {}

  std::string kind;
  std::vector<Site> sites;
  int thread =
      -1;  // linear index in the block; -1 until known: then whichever ran when the error was noticed
  Dim3 thread_index, block_index;
};

namespace kind {
inline constexpr char kRace[] = "race";          // shared or global memory, no barrier between two accesses
inline constexpr char kDeadlock[] = "deadlock";  // every live thread waits
inline constexpr char kDivergence[] = "divergence";  // threads meet each other from different lines
inline constexpr char kOutOfBounds[] = "out_of_bounds";
inline constexpr char kMisaligned[] = "misaligned";
inline constexpr char kAsync[] = "async";         // a copy in flight touched, or never waited for
inline constexpr char kReadOnly[] = "read_only";  // a store to a buffer registered as an input
}  // namespace kind

}  // namespace maskconv::emulation
