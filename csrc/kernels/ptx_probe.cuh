// One small kernel per wrapper of device/ptx.cuh and built-in the other kernels rely on: words in, words out,
// so that what the device computes can be compared with what the emulation does. Run by one block.
#pragma once

#include <cstdint>
#include <cstring>

#include "device/ptx.cuh"

namespace maskconv::probe {

struct Params {
  const uint32_t* input;
  uint32_t* output;
  int64_t input_words;
};

inline constexpr int kLanes = 32;
inline constexpr uint32_t kAllLanes = 0xffffffff;

// Input: 32 pieces of Bytes, then a predicate per lane. Output: each lane's neighbour's piece, as copied.
template <int Bytes>
struct CpAsync {
  static constexpr const char* kName = Bytes == 4 ? "cp_async_4" : Bytes == 8 ? "cp_async_8" : "cp_async_16";
  static constexpr int kWords = Bytes / 4;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = kLanes * Bytes;
  static constexpr int64_t kInputWords = kLanes * (kWords + 1);
  static constexpr int64_t output_words(int64_t) { return kLanes * kWords; }

  __device__ static void run(const Params& params) {
    auto* const smem = reinterpret_cast<uint32_t*>(ptx::dynamic_smem());
    const int lane = static_cast<int>(threadIdx.x);
    const bool pred = ptx::load_global(params.input + kLanes * kWords + lane) != 0;
    for (int i = 0; i < kWords; ++i) ptx::store_shared(smem + lane * kWords + i, ~0u);  // zero fill must show
    ptx::cp_async<Bytes>(smem + lane * kWords, params.input + lane * kWords, pred);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncwarp();
    const int neighbour = lane ^ 1;
    for (int i = 0; i < kWords; ++i) {
      ptx::store_global(params.output + lane * kWords + i, ptx::load_shared(smem + neighbour * kWords + i));
    }
  }
};

// Input: three words a lane, copied as three groups; of the output the first two words are read when one
// group may still be in flight, the third after it landed.
struct CpAsyncGroups {
  static constexpr const char* kName = "cp_async_groups";
  static constexpr int kGroups = 3;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = kLanes * kGroups * 4;
  static constexpr int64_t kInputWords = kLanes * kGroups;
  static constexpr int64_t output_words(int64_t) { return kLanes * kGroups; }

  __device__ static void run(const Params& params) {
    auto* const smem = reinterpret_cast<uint32_t*>(ptx::dynamic_smem());
    const int first = static_cast<int>(threadIdx.x) * kGroups;
    for (int i = 0; i < kGroups; ++i) {
      ptx::cp_async<4>(smem + first + i, params.input + first + i, true);
      ptx::cp_async_commit();
    }
    ptx::cp_async_wait<1>();
    for (int i = 0; i < kGroups - 1; ++i) {
      ptx::store_global(params.output + first + i, ptx::load_shared(smem + first + i));
    }
    ptx::cp_async_wait<0>();
    ptx::store_global(params.output + first + 2, ptx::load_shared(smem + first + 2));
  }
};

// Input: the matrices, row by row. Output: each lane's registers.
template <int Matrices, bool kTransposed = false>
struct Ldmatrix {
  static_assert(Matrices == 4 || !kTransposed);
  static constexpr const char* kName = kTransposed     ? "ldmatrix_x4_trans"
                                       : Matrices == 4 ? "ldmatrix_x4"
                                                       : "ldmatrix_x2";
  static constexpr int kRowWords = 4;
  static constexpr int kRows = 8 * Matrices;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = kRows * kRowWords * 4;
  static constexpr int64_t kInputWords = kRows * kRowWords;
  static constexpr int64_t output_words(int64_t) { return kLanes * Matrices; }

  __device__ static void run(const Params& params) {
    auto* const smem = reinterpret_cast<uint32_t*>(ptx::dynamic_smem());
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < kInputWords; i += kLanes)
      ptx::store_shared(smem + i, ptx::load_global(params.input + i));
    __syncwarp();
    uint32_t registers[Matrices];
    const uint32_t* const row = smem + lane % kRows * kRowWords;
    if constexpr (kTransposed) {
      ptx::ldmatrix_x4_trans(registers, row);
    } else if constexpr (Matrices == 4) {
      ptx::ldmatrix_x4(registers, row);
    } else {
      ptx::ldmatrix_x2(registers, row);
    }
    for (int i = 0; i < Matrices; ++i) ptx::store_global(params.output + lane * Matrices + i, registers[i]);
  }
};

// Input: a lane's four words of a, two of b, four of d. Output: its four of d.
template <class T>
struct Mma {
  static constexpr const char* kName = std::is_same_v<T, f16>    ? "mma_f16"
                                       : std::is_same_v<T, bf16> ? "mma_bf16"
                                                                 : "mma_tf32";
  static constexpr int kWords = 4 + 2 + 4;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = kLanes * kWords;
  static constexpr int64_t output_words(int64_t) { return kLanes * 4; }

  __device__ static void run(const Params& params) {
    const int lane = static_cast<int>(threadIdx.x);
    const uint32_t* const input = params.input + lane * kWords;
    uint32_t a[4], b[2];
    float d[4];
    for (int i = 0; i < 4; ++i) a[i] = ptx::load_global(input + i);
    for (int i = 0; i < 2; ++i) b[i] = ptx::load_global(input + 4 + i);
    for (int i = 0; i < 4; ++i) d[i] = ptx::load_global(reinterpret_cast<const float*>(input) + 6 + i);
    if constexpr (std::is_same_v<T, tf32>) {
      ptx::mma_m16n8k8_tf32(d, a, b);
    } else {
      ptx::mma_m16n8k16<T>(d, a, b);
    }
    for (int i = 0; i < 4; ++i) {
      ptx::store_global(reinterpret_cast<float*>(params.output) + lane * 4 + i, d[i]);
    }
  }
};

// Input: floats, any number. Output: each rounded to TF32.
struct RoundToTf32 {
  static constexpr const char* kName = "round_to_tf32";
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = -1;
  static constexpr int64_t output_words(int64_t input_words) { return input_words; }

  __device__ static void run(const Params& params) {
    for (int64_t i = threadIdx.x; i < params.input_words; i += kLanes)
      ptx::store_global(params.output + i, ptx::round_to_tf32(ptx::load_global(params.input + i)));
  }
};

// Input: three words a lane, each two halves: x, and the upper and lower halves of a factor. Output: the
// products.
template <class T>
struct MultiplyPair {
  static constexpr const char* kName = std::is_same_v<T, f16> ? "multiply_pair_f16" : "multiply_pair_bf16";
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = -1;
  static constexpr int64_t output_words(int64_t input_words) { return input_words / 3; }

  __device__ static void run(const Params& params) {
    for (int64_t i = threadIdx.x; i < params.input_words / 3; i += kLanes) {
      const uint32_t* const from = params.input + i * 3;
      const uint32_t x = ptx::load_global(from), upper = ptx::load_global(from + 1);
      ptx::store_global(params.output + i, ptx::multiply_pair<T>(x, upper, ptx::load_global(from + 2)));
    }
  }
};

// Input: four words a lane. Output: the same, moved through shared memory in accesses of T.
template <class T>
struct Move {
  static constexpr const char* kName = sizeof(T) == 1   ? "move_1"
                                       : sizeof(T) == 2 ? "move_2"
                                       : sizeof(T) == 4 ? "move_4"
                                       : sizeof(T) == 8 ? "move_8"
                                                        : "move_16";
  static constexpr int kWords = 4;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = kLanes * kWords * 4;
  static constexpr int64_t kInputWords = kLanes * kWords;
  static constexpr int64_t output_words(int64_t) { return kInputWords; }

  __device__ static void run(const Params& params) {
    auto* const smem = reinterpret_cast<T*>(ptx::dynamic_smem());
    constexpr int kElements = kSmemBytes / sizeof(T);
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < kElements; i += kLanes) {
      ptx::store_shared(smem + i, ptx::load_global(reinterpret_cast<const T*>(params.input) + i));
    }
    __syncwarp();
    for (int i = kLanes - 1 - lane; i < kElements; i += kLanes) {  // by another lane than wrote it
      ptx::store_global(reinterpret_cast<T*>(params.output) + i, ptx::load_shared(smem + i));
    }
  }
};

// Input: a word a lane. Output: their bitwise or.
struct AtomicOr {
  static constexpr const char* kName = "atomic_or_shared";
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 4;
  static constexpr int64_t kInputWords = kLanes;
  static constexpr int64_t output_words(int64_t) { return 1; }

  __device__ static void run(const Params& params) {
    auto* const smem = reinterpret_cast<uint32_t*>(ptx::dynamic_smem());
    if (threadIdx.x == 0) ptx::store_shared(smem, 0u);
    __syncwarp();
    ptx::atomic_or_shared(smem, ptx::load_global(params.input + threadIdx.x));
    __syncwarp();
    if (threadIdx.x == 0) ptx::store_global(params.output, ptx::load_shared(smem));
  }
};

// Input: floats, any number. Output: each as T, in the low half of its word.
template <class T>
struct Narrow {
  static constexpr const char* kName = std::is_same_v<T, f16> ? "narrow_f16" : "narrow_bf16";
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = -1;
  static constexpr int64_t output_words(int64_t input_words) { return input_words; }

  __device__ static void run(const Params& params) {
    for (int64_t i = threadIdx.x; i < params.input_words; i += kLanes) {
      const float value = ptx::load_global(reinterpret_cast<const float*>(params.input) + i);
      ptx::store_global(params.output + i, 0u);
      ptx::store_global(reinterpret_cast<T*>(params.output + i), from_float<T>(value));
    }
  }
};

// Input: T in the low halves of words, any number. Output: each as float.
template <class T>
struct Widen {
  static constexpr const char* kName = std::is_same_v<T, f16> ? "widen_f16" : "widen_bf16";
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = -1;
  static constexpr int64_t output_words(int64_t input_words) { return input_words; }

  __device__ static void run(const Params& params) {
    for (int64_t i = threadIdx.x; i < params.input_words; i += kLanes) {
      const T value = ptx::load_global(reinterpret_cast<const T*>(params.input + i));
      ptx::store_global(reinterpret_cast<float*>(params.output) + i, to_float(value));
    }
  }
};

// Input: a word a lane. Output: what each lane gets of every warp-wide built-in.
struct WarpOps {
  static constexpr const char* kName = "warp_ops";
  static constexpr int kResults = 13;
  static constexpr int kThreads = kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = kLanes;
  static constexpr int64_t output_words(int64_t) { return kLanes * kResults; }

  __device__ static void run(const Params& params) {
    const int lane = static_cast<int>(threadIdx.x);
    const uint32_t value = ptx::load_global(params.input + lane);
    const int odd = static_cast<int>(value & 1);
    const uint32_t half_warp = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    const uint32_t results[kResults] = {
        static_cast<uint32_t>(__ballot_sync(kAllLanes, odd)),
        static_cast<uint32_t>(__ballot_sync(half_warp, odd)),
        static_cast<uint32_t>(__any_sync(half_warp, odd) != 0),
        static_cast<uint32_t>(__all_sync(half_warp, odd) != 0),
        __shfl_sync(kAllLanes, value, 5),
        __shfl_sync(kAllLanes, value, lane + 3, 8),
        __shfl_xor_sync(kAllLanes, value, 16),
        __shfl_xor_sync(kAllLanes, value, 12, 8),
        __shfl_up_sync(kAllLanes, value, 3u),
        __shfl_down_sync(kAllLanes, value, 3u, 16),
        __reduce_or_sync(kAllLanes, value),
        __reduce_add_sync(half_warp, value),
        static_cast<uint32_t>(__popc(value) | __ffs(static_cast<int>(value)) << 8 |
                              __clz(static_cast<int>(value)) << 16),
    };
    for (int i = 0; i < kResults; ++i) ptx::store_global(params.output + lane * kResults + i, results[i]);
  }
};

// Input: a predicate for each of two warps' threads. Output: what the block's votes return to the last
// thread.
struct BlockVotes {
  static constexpr const char* kName = "block_votes";
  static constexpr int kThreads = 2 * kLanes;
  static constexpr int kSmemBytes = 0;
  static constexpr int64_t kInputWords = kThreads;
  static constexpr int64_t output_words(int64_t) { return 3; }

  __device__ static void run(const Params& params) {
    const int predicate = ptx::load_global(params.input + threadIdx.x) != 0;
    const int total = __syncthreads_count(predicate);
    const int any = __syncthreads_or(predicate);
    const int all = __syncthreads_and(predicate);
    if (threadIdx.x != kThreads - 1) return;
    ptx::store_global(params.output, static_cast<uint32_t>(total));
    ptx::store_global(params.output + 1, static_cast<uint32_t>(any != 0));
    ptx::store_global(params.output + 2, static_cast<uint32_t>(all != 0));
  }
};

template <class Probe>
__global__ void __launch_bounds__(Probe::kThreads) kernel(const __grid_constant__ Params params) {
  Probe::run(params);
}

// Calls visit.template operator()<Probe>() for the probe of this name; false if there is none.
template <class... Probes, class Visit>
bool visit_among(const char* name, Visit&& visit) {
  return ((std::strcmp(name, Probes::kName) == 0 && (visit.template operator()<Probes>(), true)) || ...);
}

template <class Visit>
bool visit(const char* name, Visit&& visitor) {
  return visit_among<CpAsync<4>, CpAsync<8>, CpAsync<16>, CpAsyncGroups, Ldmatrix<2>, Ldmatrix<4>,
                     Ldmatrix<4, true>, Mma<f16>, Mma<bf16>, Mma<tf32>, RoundToTf32, MultiplyPair<f16>,
                     MultiplyPair<bf16>, Move<uint8_t>, Move<uint16_t>, Move<uint32_t>, Move<Vec8>,
                     Move<Vec16>, AtomicOr, Narrow<f16>, Narrow<bf16>, Widen<f16>, Widen<bf16>, WarpOps,
                     BlockVotes>(name, visitor);
}

}  // namespace maskconv::probe
