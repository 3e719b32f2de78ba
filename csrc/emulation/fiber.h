// One CUDA thread's own stack, switched to and from within one OS thread.
#pragma once

#include <csetjmp>
#include <cstddef>

namespace maskconv::emulation {

class Fiber {
 public:
  Fiber() = default;  // without a stack: stands for the context that calls switch_to first
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber calls body on its own stack, and calls it again each time it returned, so
  // one stack serves many blocks. Whatever ran there before is abandoned.
  void prepare(void (*body)());

  static void switch_to(Fiber& from, Fiber& to);

 private:
  static void run();

  std::jmp_buf state_;
  void* mapping_ = nullptr;
  void (*body_)() = nullptr;
};

}  // namespace maskconv::emulation
