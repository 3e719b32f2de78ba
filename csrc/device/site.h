// A position in the source, taken at the call: the last, defaulted parameter of everything the emulation
// checks, so that a report names the lines involved. On the device it is unused and compiles to nothing.
#pragma once

namespace maskconv {

struct Site {
  const char* file = "";
  int line = 0;

  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

}  // namespace maskconv
