#include "ops/runtime.h"

#include <atomic>
#include <exception>

#include "ops/tensors.h"

namespace maskconv::ops {

namespace {

// torch's pool does not carry exceptions through its C interface, so the first one is kept and thrown again.
void parallel_for(int64_t begin, int64_t end, int64_t grain, const cpu::Runtime::Body& body) {
  std::exception_ptr failure;
  std::atomic_flag failed = ATOMIC_FLAG_INIT;
  torch::stable::parallel_for(begin, end, grain, [&](int64_t first, int64_t last) {
    try {
      body(first, last);
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

cpu::Runtime cpu_runtime() { return {parallel_for, static_cast<int>(torch::stable::get_num_threads())}; }

}  // namespace maskconv::ops
