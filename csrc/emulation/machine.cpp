#include "emulation/machine.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "emulation/cuda_builtins.h"

namespace maskconv::emulation {
namespace {

constexpr uint32_t kPreemptOdds = 16;  // one in so many accesses to memory gives way

// Stacks outlive a launch: mapping them costs more than a small launch.
std::vector<std::unique_ptr<Fiber>> fibers;

dim3 to_dim3(const Dim3& extent) { return {extent.x, extent.y, extent.z}; }
uint3 to_uint3(const Dim3& index) { return {index.x, index.y, index.z}; }

}  // namespace

Machine* Machine::current_ = nullptr;

Machine::Machine(Dim3 grid, Dim3 block, size_t smem_bytes, const LaunchOptions& options, GlobalMemory& memory,
                 std::function<void()> kernel)
    : grid_(grid),
      block_(block),
      options_(options),
      memory_(memory),
      kernel_(std::move(kernel)),
      random_(options.seed),
      shared_(smem_bytes, sites_) {
  constexpr unsigned kMaxThreads = 1024;
  if (block.size() == 0 || block.size() > kMaxThreads) {
    throw std::invalid_argument("a block has 1 to 1024 threads, got " + std::to_string(block.size()));
  }
  threads_.resize(block.size());
  warps_.reserve((block.size() + kWarpSize - 1) / kWarpSize);
  for (size_t i = 0; i < warps_.capacity(); ++i) warps_.emplace_back(counters_);
}

uint32_t Machine::below(size_t count) { return static_cast<uint32_t>((random_() >> 32) * count >> 32); }

Fiber& Machine::fiber(int thread) { return *fibers[thread]; }

Counters Machine::run() {
  Machine* const outer = std::exchange(current_, this);
  memory_.begin_launch();
  ::gridDim = to_dim3(grid_);
  ::blockDim = to_dim3(block_);
  while (fibers.size() < threads_.size()) fibers.push_back(std::make_unique<Fiber>());
  for (size_t i = 0; i < threads_.size(); ++i) fibers[i]->prepare(&Machine::thread_main);

  std::vector<unsigned> order(grid_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), random_);
  unsigned block = 0;
  try {
    for (unsigned next : order) run_block(block = next);
  } catch (const Error& error) {
    current_ = outer;
    const Dim3 thread_index = block_.at(static_cast<unsigned>(error.thread)), block_index = grid_.at(block);
    Error located(error.kind,
                  std::string(error.what()) + " [thread " + to_string(thread_index) + " of block " +
                      to_string(block_index) + "]",
                  error.sites);
    located.thread = error.thread;
    located.thread_index = thread_index;
    located.block_index = block_index;
    throw located;
  } catch (...) {
    current_ = outer;
    throw;
  }
  current_ = outer;
  return counters_;
}

void Machine::run_block(unsigned block) {
  ::blockIdx = to_uint3(grid_.at(block));
  first_epoch_ = ++epoch_;
  shared_.begin_block(first_epoch_);
  live_ = static_cast<int>(threads_.size());
  for (int i = 0; i < live_; ++i) {
    threads_[i].state = State::kReady;
    ready_.push_back(i);
  }
  for (Warp& warp : warps_) warp.exited = warp.meeting = 0;
  switch_from(scheduler_);
  if (error_ != nullptr) std::rethrow_exception(error_);
  if (live_ > 0) fail_deadlock();
  for (Warp& warp : warps_) warp.requests.flush();
}

void Machine::thread_main() {
  Machine& machine = current();
  try {
    machine.kernel_();
    machine.exit_thread();
  } catch (Error& error) {
    if (error.thread < 0) error.thread = machine.running_;
    machine.error_ = std::current_exception();
  } catch (...) {
    machine.error_ = std::current_exception();
  }
  if (machine.error_ != nullptr) Fiber::switch_to(fiber(machine.running_), machine.scheduler_);
  machine.wait();  // until the next block, for which Fiber calls this again: `machine` may be gone by then
}

void Machine::exit_thread() {
  Thread& me = self();
  if (!me.copies.empty()) {
    const Site site = sites_[me.copies.front().site];
    throw Error(kind::kAsync,
                "thread exits with " + std::to_string(me.copies.size()) +
                    " copies in flight, the oldest issued at " + to_string(site),
                {site});
  }
  me.state = State::kExited;
  warp().exited |= 1u << lane();
  --live_;
  if (at_barrier_ > 0 && at_barrier_ == live_) release_barrier();  // an exited thread counts as arrived
}

void Machine::switch_from(Fiber& from) {
  if (ready_.empty()) return Fiber::switch_to(from, scheduler_);
  std::swap(ready_[below(ready_.size())], ready_.back());
  running_ = ready_.back();
  ready_.pop_back();
  ::threadIdx = to_uint3(block_.at(static_cast<unsigned>(running_)));
  Fiber& to = fiber(running_);
  if (&to != &from) Fiber::switch_to(from, to);
}

void Machine::make_ready(int thread) {
  threads_[thread].state = State::kReady;
  ready_.push_back(thread);
}

void Machine::maybe_preempt() {
  if (!options_.preempt || below(kPreemptOdds) != 0) return;
  make_ready(running_);
  wait();
}

}  // namespace maskconv::emulation
