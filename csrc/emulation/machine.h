// Runs a kernel's blocks, one after another, every thread a fiber: the scheduler, the barriers, the meetings
// of warps, and the accesses to memory that ptx_host.h makes on the threads' behalf.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "emulation/counters.h"
#include "emulation/error.h"
#include "emulation/fiber.h"
#include "emulation/global_memory.h"
#include "emulation/requests.h"
#include "emulation/shared_memory.h"

namespace maskconv::emulation {

inline constexpr uint32_t kAllLanes = 0xffffffff;

// ldmatrix moves 8x8 matrices of 16-bit elements, a row as one access.
inline constexpr int kMatrixRows = 8;
inline constexpr int kMatrixRowBytes = 16;
inline constexpr int kMatrixRowWords = kMatrixRowBytes / 4;

struct LaunchOptions {
  uint64_t seed = 0;     // of the order of blocks and threads
  bool preempt = false;  // also switch threads, at random, at accesses to memory
};

class Machine {
 public:
  Machine(Dim3 grid, Dim3 block, size_t smem_bytes, const LaunchOptions& options, GlobalMemory& memory,
          std::function<void()> kernel);

  Counters run();

  // The rest is called from within a running kernel, by the current thread.
  static Machine& current() { return *current_; }

  int lane() const { return running_ % kWarpSize; }
  unsigned char* dynamic_smem() { return shared_.data(); }
  Counters& counters() { return counters_; }

  // __syncthreads: returns how many threads came with a true predicate.
  int barrier(bool predicate, const char* name, const Site& site);

  // A warp-wide instruction: returns once every lane of the mask came, and the last of them called
  // complete(arguments of each lane, mask) for all.
  using Arguments = std::array<void*, kWarpSize>;
  using Complete = void (*)(Machine&, const Arguments&, uint32_t mask);
  void meet(const char* name, uint32_t mask, void* arguments, Complete complete, const Site& site);

  void sync_warp(uint32_t mask, const Site& site);

  void load_global(void* value, const void* address, size_t bytes, const Site& site);
  void store_global(void* address, const void* value, size_t bytes, const Site& site);
  void load_shared(void* value, const void* address, size_t bytes, const Site& site);
  void store_shared(void* address, const void* value, size_t bytes, const Site& site);
  void atomic_or_shared(uint32_t* address, uint32_t bits, const Site& site);

  void cp_async(void* shared, const void* global, size_t bytes, bool pred, const Site& site);
  void cp_async_commit();
  void cp_async_wait(size_t groups_left);

  // One 8x8 matrix: rows[i] is given by lane first_lane + i of the current warp, which is blamed for it.
  void read_matrix(const void* const (&rows)[kMatrixRows], int first_lane, uint32_t (&words)[kWarpSize],
                   const Site& site);

 private:
  enum class State { kReady, kAtBarrier, kInMeeting, kExited };

  struct AsyncCopy {
    size_t offset;
    const void* source;
    size_t bytes;
    bool pred;
    uint16_t site;
  };

  struct Thread {
    State state = State::kReady;
    const char* waits_in = "";
    Site site;
    uint32_t mask = 0;
    void* arguments = nullptr;
    uint32_t clock = 1;
    std::vector<AsyncCopy> copies;    // in flight, oldest first
    std::vector<size_t> group_sizes;  // of the committed groups among them; the rest is uncommitted
  };

  struct Warp {
    explicit Warp(Counters& counters) : requests(counters) {}
    WarpClocks clocks;
    WarpRequests requests;
    uint32_t meeting = 0;  // lanes that wait in a meeting
    uint32_t exited = 0;
  };

  void run_block(unsigned block);
  static void thread_main();
  void exit_thread();
  void switch_from(Fiber& from);  // to a ready thread chosen at random; to the scheduler if there is none
  void wait() { switch_from(fiber(running_)); }
  void maybe_preempt();
  void make_ready(int thread);
  void release_barrier();
  void refuse_other_meeting(const Thread& other, int other_lane) const;
  [[noreturn]] void fail_deadlock() const;

  static Fiber& fiber(int thread);
  Thread& self() { return threads_[running_]; }
  Warp& warp() { return warps_[running_ / kWarpSize]; }
  Access access(const Site& site);
  Access access(const Site& site, int thread);
  uint64_t touch_global(const void* address, size_t bytes, bool write, const char* what, const Access& now);
  uint32_t below(size_t count);

  Dim3 grid_, block_;
  LaunchOptions options_;
  GlobalMemory& memory_;
  std::function<void()> kernel_;
  std::mt19937_64 random_;
  Counters counters_;
  SiteTable sites_;
  SharedMemory shared_;

  Fiber scheduler_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  std::exception_ptr error_;
  int running_ = 0;
  int live_ = 0;
  int at_barrier_ = 0;
  int predicates_ = 0, released_predicates_ = 0;
  Site barrier_site_;
  uint32_t epoch_ = 0;        // block barriers so far, and block starts
  uint32_t first_epoch_ = 0;  // of the block that runs

  static Machine* current_;
};

}  // namespace maskconv::emulation
