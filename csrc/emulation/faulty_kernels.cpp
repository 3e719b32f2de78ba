// Small kernels that are wrong, each in one way, and a few whose counts are known: they prove that the
// emulation's checks fire. The markers in comments are how the tests find the lines a report must name.
#include <cstring>

#include "device/ptx.cuh"
#include "emulation/bindings.h"

namespace py = pybind11;

namespace maskconv::emulation {
namespace {

constexpr int kThreads = 64;  // two warps
constexpr int kSmemWords = 2048;
constexpr int kWords = 4096;  // of input, and of output

struct Params {
  const uint32_t* input;
  uint32_t* output;
};

uint32_t* smem() { return reinterpret_cast<uint32_t*>(ptx::dynamic_smem()); }
int thread() { return static_cast<int>(threadIdx.x); }
int thread_of_grid() { return static_cast<int>(blockIdx.x * kThreads + threadIdx.x); }

void missing_barrier(const Params params) {
  ptx::store_shared(smem() + thread(), 1u);                                      // [missing_barrier: write]
  const uint32_t value = ptx::load_shared(smem() + (thread() + 32) % kThreads);  // [missing_barrier: read]
  ptx::store_global(params.output + thread(), value);
}

void missing_syncwarp(const Params) {
  ptx::store_shared(smem() + thread(), 1u);   // [missing_syncwarp: write]
  ptx::load_shared(smem() + (thread() ^ 1));  // [missing_syncwarp: read]
}

void write_after_read(const Params) {
  ptx::store_shared(smem() + thread(), 1u);
  __syncthreads();
  ptx::load_shared(smem() + (thread() + 32) % kThreads);  // [write_after_read: read]
  ptx::store_shared(smem() + thread(), 2u);               // [write_after_read: write]
}

void wait_off_by_one(const Params params) {
  constexpr int kStages = 3;
  for (int stage = 0; stage < kStages; ++stage) {
    const int at = stage * kThreads + thread();
    ptx::cp_async<4>(smem() + at, params.input + at, true);  // [wait_off_by_one: issue]
    ptx::cp_async_commit();
  }
  for (int stage = 0; stage < kStages; ++stage) {
    ptx::cp_async_wait<kStages - 1>();                       // right for the first stage only
    ptx::load_shared(smem() + stage * kThreads + thread());  // [wait_off_by_one: read]
  }
}

void wait_before_commit(const Params params) {
  ptx::cp_async<4>(smem() + thread(), params.input, true);  // [wait_before_commit: issue]
  ptx::cp_async_wait<0>();
  ptx::load_shared(smem() + thread());  // [wait_before_commit: read]
}

void wait_without_barrier(const Params params) {
  ptx::cp_async<4>(smem() + thread(), params.input, true);  // [wait_without_barrier: issue]
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  ptx::cp_async_commit();  // an empty group changes nothing
  __syncwarp();
  if (thread() < 32) {  // what the other warp still waits for, or waited for without a barrier
    ptx::load_shared(smem() + thread());
  } else {
    ptx::load_shared(smem() + thread() - 32);  // [wait_without_barrier: read]
  }
}

void copy_over_unread(const Params params) {
  ptx::store_shared(smem() + thread(), 1u);
  __syncthreads();
  ptx::load_shared(smem() + (thread() + 32) % kThreads);    // [copy_over_unread: read]
  ptx::cp_async<4>(smem() + thread(), params.input, true);  // [copy_over_unread: issue]
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

void unwaited_copy(const Params params) {
  ptx::cp_async<4>(smem() + thread(), params.input, true);  // [unwaited_copy: issue]
  ptx::cp_async_commit();
}

void missed_barrier(const Params) {
  if (thread() == 5) {
    __syncwarp();  // [missed_barrier: warp]
  } else {
    __syncthreads();  // [missed_barrier: block]
  }
}

void divergent_barrier(const Params) {
  if (thread() < 32) {
    __syncthreads();  // [divergent_barrier: a]
  } else {
    __syncthreads();  // [divergent_barrier: b]
  }
}

void divergent_collective(const Params) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (thread() % 2 == 0) {
    ptx::mma_m16n8k16<bf16>(d, a, b);  // [divergent_collective: a]
  } else {
    ptx::mma_m16n8k16<bf16>(d, a, b);  // [divergent_collective: b]
  }
}

void absent_lanes(const Params) {
  if (thread() % 32 >= 16) return;
  __ballot_sync(kAllLanes, 1);  // [absent_lanes: ballot]
}

void inactive_shuffle_source(const Params) {
  if (thread() < 16) __shfl_sync(0xffffu, thread(), 20);  // [inactive_shuffle_source: shuffle]
}

void shared_out_of_bounds(const Params) {
  ptx::store_shared(smem() + kSmemWords - kThreads + 1 + thread(), 0u);  // [shared_out_of_bounds: store]
}

void global_out_of_bounds(const Params params) {
  ptx::load_global(params.input + kWords - kThreads + 1 + thread());  // [global_out_of_bounds: load]
}

void global_before_begin(const Params params) {
  ptx::store_global(params.output - 1 + thread(), 0u);  // [global_before_begin: store]
}

void copy_source_out_of_bounds(const Params params) {
  uint32_t* const destination = smem() + 4 * thread();
  const bool pred = thread() == 7;                              // the others may point anywhere
  ptx::cp_async<16>(destination, params.input + kWords, pred);  // [copy_source_out_of_bounds: issue]
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

void copy_destination_out_of_bounds(const Params params) {
  ptx::cp_async<16>(smem() + kSmemWords, params.input, false);  // [copy_destination_out_of_bounds: issue]
}

void misaligned_copy_destination(const Params params) {
  ptx::cp_async<16>(smem() + 4 * thread() + 1, params.input, false);  // [misaligned_copy_destination: issue]
}

void misaligned_copy_source(const Params params) {
  ptx::cp_async<8>(smem() + 2 * thread(), params.input + 1, true);  // [misaligned_copy_source: issue]
}

void misaligned_load(const Params params) {
  ptx::load_global(reinterpret_cast<const Vec16*>(params.input + 2));  // [misaligned_load: load]
}

void input_written(const Params params) {
  ptx::store_global(const_cast<uint32_t*>(params.input), 0u);  // [input_written: store]
}

void two_threads_store(const Params params) {
  ptx::store_global(params.output + thread() / 2, 1u);  // [two_threads_store: store]
}

void two_blocks_store(const Params params) {
  __syncthreads();                                          // orders the threads of one block only
  if (thread() == 0) ptx::store_global(params.output, 1u);  // [two_blocks_store: store]
}

void load_after_foreign_store(const Params params) {
  ptx::store_global(params.output + thread(), 1u);            // [load_after_foreign_store: store]
  ptx::load_global(params.output + kThreads - 1 - thread());  // [load_after_foreign_store: load]
}

void matrix_out_of_bounds(const Params) {
  uint32_t registers[4];
  const int lane = thread() % 32;
  ptx::ldmatrix_x4(registers, smem() + (lane == 9 ? kSmemWords : 0));  // [matrix_out_of_bounds: load]
}

void matrix_without_syncwarp(const Params) {
  if (thread() >= 32) return;
  auto* const row = reinterpret_cast<Vec16*>(smem()) + thread();
  ptx::store_shared(row, Vec16{});  // [matrix_without_syncwarp: write]
  uint32_t registers[4];
  ptx::ldmatrix_x4(registers, row);  // [matrix_without_syncwarp: load]
}

void atomic_and_read(const Params) {
  if (thread() == 0) ptx::store_shared(smem(), 0u);
  __syncthreads();
  ptx::atomic_or_shared(smem(), 1u << thread() % 32);  // [atomic_and_read: atomic]
  ptx::load_shared(smem());                            // [atomic_and_read: read]
}

void atomic_and_own_read(const Params) {
  if (thread() == 0) ptx::store_shared(smem(), 0u);
  __syncthreads();
  if (thread() % 32 == 0) ptx::atomic_or_shared(smem(), 1u);  // [atomic_and_own_read: atomic]
  if (thread() == 32) ptx::load_shared(smem());               // [atomic_and_own_read: read]
}

// From here on nothing is wrong.

void uninitialized(const Params params) {
  ptx::store_global(params.output + thread_of_grid(), ptx::load_shared(smem() + thread()));
}

void global_exchange(const Params params) {
  ptx::store_global(params.output + thread(), static_cast<uint32_t>(thread()));
  __syncthreads();
  const uint32_t value = ptx::load_global(params.output + kThreads - 1 - thread());
  __syncthreads();
  ptx::store_global(params.output + thread(), value);
}

void barrier_after_exits(const Params params) {
  if (thread() % 3 == 0) return;
  ptx::store_shared(smem() + thread(), 7u);
  __syncthreads();
  const int other = (thread() + kThreads / 2) % kThreads;
  if (other % 3 != 0) ptx::store_global(params.output + thread_of_grid(), ptx::load_shared(smem() + other));
}

void half_warps_meet_apart(const Params params) {
  const uint32_t half = thread() % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  ptx::store_shared(smem() + thread(), 1u + static_cast<uint32_t>(thread()));
  __syncwarp(half);
  ptx::store_global(params.output + thread(), ptx::load_shared(smem() + (thread() ^ 15)));
}

template <int RowBytes>
void matrix_rows(const Params) {
  if (thread() >= 32) return;
  uint32_t registers[4];
  ptx::ldmatrix_x4(registers, ptx::dynamic_smem() + thread() % 8 * RowBytes);
}

// 16-byte copies: lane l's to piece l of shared memory, or 128 bytes apart, so that eight want the same
// banks.
template <int DestinationBytes>
void copies(const Params params) {
  if (thread() < 32) {
    ptx::cp_async<16>(ptx::dynamic_smem() + thread() * DestinationBytes, params.input + 4 * thread(),
                      thread() % 4 != 0);
  }
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

template <int StrideWords>
void global_stride(const Params params) {
  if (thread() >= 32) return;
  for (int i = 0; i < 2; ++i) {
    const int at = (32 * i + thread() + kThreads * static_cast<int>(blockIdx.x)) * StrideWords;
    const uint32_t value = ptx::load_global(params.input + at);
    if (thread() % 2 == 0) ptx::store_global(params.output + at, value);
  }
  ptx::count("visits", 2);
}

template <int StrideWords>
void shared_stride(const Params) {
  if (thread() < 32) ptx::store_shared(smem() + thread() * StrideWords, 1u);
}

struct Kernel {
  const char* name;
  void (*run)(Params);
};

#define KERNEL(name) {#name, &name}
constexpr Kernel kKernels[] = {
    KERNEL(missing_barrier),
    KERNEL(missing_syncwarp),
    KERNEL(write_after_read),
    KERNEL(wait_off_by_one),
    KERNEL(wait_before_commit),
    KERNEL(wait_without_barrier),
    KERNEL(copy_over_unread),
    KERNEL(unwaited_copy),
    KERNEL(missed_barrier),
    KERNEL(divergent_barrier),
    KERNEL(divergent_collective),
    KERNEL(absent_lanes),
    KERNEL(inactive_shuffle_source),
    KERNEL(shared_out_of_bounds),
    KERNEL(global_out_of_bounds),
    KERNEL(global_before_begin),
    KERNEL(copy_source_out_of_bounds),
    KERNEL(copy_destination_out_of_bounds),
    KERNEL(misaligned_copy_destination),
    KERNEL(misaligned_copy_source),
    KERNEL(misaligned_load),
    KERNEL(input_written),
    KERNEL(two_threads_store),
    KERNEL(two_blocks_store),
    KERNEL(load_after_foreign_store),
    KERNEL(global_exchange),
    KERNEL(matrix_out_of_bounds),
    KERNEL(matrix_without_syncwarp),
    KERNEL(atomic_and_read),
    KERNEL(atomic_and_own_read),
    KERNEL(uninitialized),
    KERNEL(barrier_after_exits),
    KERNEL(half_warps_meet_apart),
    KERNEL(matrix_rows<16>),
    KERNEL(matrix_rows<128>),
    KERNEL(matrix_rows<144>),
    KERNEL(copies<16>),
    KERNEL(copies<128>),
    KERNEL(global_stride<1>),
    KERNEL(global_stride<8>),
    KERNEL(shared_stride<1>),
    KERNEL(shared_stride<2>),
    KERNEL(shared_stride<32>),
};
#undef KERNEL

py::tuple run_example(const std::string& name, uint64_t seed, bool preempt, unsigned blocks) {
  for (const Kernel& kernel : kKernels) {
    if (name != kernel.name) continue;
    py::array_t<uint32_t> input(kWords), output(kWords);
    for (int i = 0; i < kWords; ++i) input.mutable_at(i) = static_cast<uint32_t>(i), output.mutable_at(i) = 0;
    GlobalMemory memory;
    const Params params{readable<uint32_t>(memory, input, "input"),
                        writable<uint32_t>(memory, output, "output")};
    const Counters counters = launch({blocks, 1, 1}, {kThreads, 1, 1}, kSmemWords * sizeof(uint32_t),
                                     {seed, preempt}, memory, kernel.run, params);
    return py::make_tuple(output, to_dict(counters));
  }
  throw std::invalid_argument("no such kernel: " + name);
}

}  // namespace

void bind_faulty_kernels(py::module_& module) {
  module.def("run_example", &run_example, py::arg("name"), py::kw_only(), py::arg("seed") = 0,
             py::arg("preempt") = false, py::arg("blocks") = 1,
             "Runs one of the small kernels of faulty_kernels.cpp; returns its output and the counters.");
}

}  // namespace maskconv::emulation
