// Fortified, longjmp takes every jump to another stack for a mistake and aborts; some compilers fortify by
// default.
#undef _FORTIFY_SOURCE

#include "emulation/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <new>

namespace maskconv::emulation {
namespace {

// Kernels keep fragments of a few KiB; unwinding an error takes more. Only touched pages cost memory.
constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 4096;  // below the stack, unmapped: an overflow faults instead of corrupting

Fiber* starting = nullptr;
ucontext_t starter;

}  // namespace

Fiber::~Fiber() {
  if (mapping_ != nullptr) munmap(mapping_, kGuardBytes + kStackBytes);
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
  if (_setjmp(from.state_) == 0) _longjmp(to.state_, 1);
}

void Fiber::run() {
  Fiber* const self = starting;
  // ucontext makes the stack; the signal-mask system call it does on every switch is why it does no more.
  if (_setjmp(self->state_) == 0) setcontext(&starter);
  for (;;) self->body_();
}

void Fiber::prepare(void (*body)()) {
  if (mapping_ == nullptr) {
    void* const mapping = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    mapping_ = mapping;
    if (mprotect(mapping_, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  }
  body_ = body;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = static_cast<char*>(mapping_) + kGuardBytes;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  starting = this;
  makecontext(&context, &Fiber::run, 0);
  swapcontext(&starter, &context);
}

}  // namespace maskconv::emulation
