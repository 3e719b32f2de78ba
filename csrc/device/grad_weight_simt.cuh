// grad_weight from operands that are loaded an element at a time, and the arithmetic on the ordinary cores,
// whose stages hold both in accumulator precision: block_k lines of block_m gradients, then of block_n input
// values.
#pragma once

#include "device/grad_weight_result.cuh"
#include "device/grad_weight_rows.cuh"

namespace maskconv::grad_weight {

template <GemmConfig kConfig, class Element>
struct SimtRowStage {
  using Acc = Accumulator<Element>;
  using Value = Acc;

  static __device__ __forceinline__ Acc value(Element element) { return to_accumulator(element); }
  static __device__ __forceinline__ Acc scaled(Acc value, Acc scale) { return value * scale; }
  static __device__ __forceinline__ Acc* grad(unsigned char* stage, int32_t k, int32_t filter) {
    return reinterpret_cast<Acc*>(stage) + k * kConfig.block_m + filter;
  }
  static __device__ __forceinline__ Acc* input(unsigned char* stage, int32_t k, int32_t column) {
    return reinterpret_cast<Acc*>(stage) + kConfig.block_k * kConfig.block_m + k * kConfig.block_n + column;
  }
};

// A thread loads one filter, and one column, of several rows: lanes read along the rows in memory. Stage says
// what they become, and where they go.
template <class Stage, GemmConfig kConfig, class Element>
class ScalarRowLoader {
 public:
  using Value = typename Stage::Value;

  __device__ __forceinline__ ScalarRowLoader(const GradWeightParams& params, const Tile& tile,
                                             const Smem<kConfig, Element>& smem)
      : smem_(smem),
        scaled_(params.gradient.scale != nullptr),
        filter_(threadIdx.x % kConfig.block_m),
        column_(threadIdx.x % kConfig.block_n),
        filter_exists_(tile.first_filter + filter_ < params.problem.filters_per_group()),
        column_exists_(tile.first_column + column_ < params.columns()),
        grad_(static_cast<const Element*>(params.gradient.grad) + filter_),
        input_(static_cast<const Element*>(params.input)) {
    const ConvProblem& problem = params.problem;
    const Column column(problem, tile.first_column + (column_exists_ ? column_ : 0));
    tap_bit_ = column.tap - Column(problem, tile.first_column).tap;
    input_ += TapIndex(problem, column.tap).delta(problem) * problem.channels + column.channel;
  }

  // Reads block_k rows of the list, of which `rows` are to be multiplied, into registers.
  __device__ __forceinline__ void fetch(int32_t first, int32_t rows) {
#pragma unroll
    for (int32_t i = 0; i < kGradRows; ++i) {
      const int32_t entry = first + grad_row(i);
      const bool exists = filter_exists_ && entry < rows;
      grads_[i] = Value{};
      if (exists) grads_[i] = Stage::value(ptx::load_global(grad_ + ptx::load_shared(smem_.row_grad(entry))));
    }
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i) {
      const int32_t entry = first + input_row(i);
      const bool live =
          column_exists_ && entry < rows && (ptx::load_shared(smem_.row_taps(entry)) >> tap_bit_ & 1);
      inputs_[i] = Value{};
      if (live)
        inputs_[i] = Stage::value(ptx::load_global(input_ + ptx::load_shared(smem_.row_input(entry))));
    }
  }

  // Writes them to a stage, the input times the scales of the rows, which begin with `first`.
  __device__ __forceinline__ void put(unsigned char* stage, int32_t first) const {
#pragma unroll
    for (int32_t i = 0; i < kGradRows; ++i)
      ptx::store_shared(Stage::grad(stage, grad_row(i), filter_), grads_[i]);
#pragma unroll
    for (int32_t i = 0; i < kInputRows; ++i) {
      const int32_t row = input_row(i);
      const Value input =
          scaled_ ? Stage::scaled(inputs_[i], smem_.row_scales().get(first + row)) : inputs_[i];
      ptx::store_shared(Stage::input(stage, row, column_), input);
    }
  }

 private:
  static constexpr int32_t kGradRowsAtOnce = kConfig.threads() / kConfig.block_m;
  static constexpr int32_t kInputRowsAtOnce = kConfig.threads() / kConfig.block_n;
  static constexpr int32_t kGradRows = kConfig.block_k / kGradRowsAtOnce;
  static constexpr int32_t kInputRows = kConfig.block_k / kInputRowsAtOnce;
  static_assert(kConfig.block_k % kGradRowsAtOnce == 0 && kConfig.block_k % kInputRowsAtOnce == 0,
                "every thread loads as many rows");

  static __device__ __forceinline__ int32_t grad_row(int32_t i) {
    return static_cast<int32_t>(threadIdx.x) / kConfig.block_m + i * kGradRowsAtOnce;
  }
  static __device__ __forceinline__ int32_t input_row(int32_t i) {
    return static_cast<int32_t>(threadIdx.x) / kConfig.block_n + i * kInputRowsAtOnce;
  }

  const Smem<kConfig, Element>& smem_;
  const bool scaled_;
  const int32_t filter_;
  const int32_t column_;
  const bool filter_exists_;
  const bool column_exists_;
  const Element* const grad_;
  const Element* input_;  // at the thread's tap and channel
  int32_t tap_bit_;       // of the bits of a row
  Value grads_[kGradRows];
  Value inputs_[kInputRows];
};

// A thread's part of the tile: kFilters neighbouring filters x one 16-byte vector of columns.
template <GemmConfig kConfig, class Element>
class ThreadSums {
 public:
  using Acc = Accumulator<Element>;
  static constexpr int32_t kVector = kVectorBytes / sizeof(Acc);
  static constexpr int32_t kThreadsPerFilter = kConfig.block_n / kVector;
  static constexpr int32_t kFilters = kConfig.block_m * kThreadsPerFilter / kConfig.threads();
  static_assert(kFilters % kVector == 0, "filters are read in vectors too");

  __device__ __forceinline__ ThreadSums()
      : filter_(threadIdx.x / kThreadsPerFilter * kFilters),
        column_(threadIdx.x % kThreadsPerFilter * kVector) {}

  __device__ __forceinline__ void multiply(unsigned char* stage) {
#pragma unroll
    for (int32_t k = 0; k < kConfig.block_k; ++k) {
      const Vector inputs = ptx::load_shared(
          reinterpret_cast<const Vector*>(SimtRowStage<kConfig, Element>::input(stage, k, column_)));
#pragma unroll
      for (int32_t i = 0; i < kFilters; i += kVector) {
        const Vector grads = ptx::load_shared(
            reinterpret_cast<const Vector*>(SimtRowStage<kConfig, Element>::grad(stage, k, filter_ + i)));
#pragma unroll
        for (int32_t f = 0; f < kVector; ++f)
#pragma unroll
          for (int32_t c = 0; c < kVector; ++c) sums_[i + f][c] += grads.value[f] * inputs.value[c];
      }
    }
  }

  __device__ __forceinline__ void store(const Destination<Element>& to) const {
#pragma unroll
    for (int32_t i = 0; i < kFilters; ++i)
#pragma unroll
      for (int32_t c = 0; c < kVector; ++c) to.template store<1>(filter_ + i, column_ + c, {sums_[i][c]});
  }

 private:
  struct alignas(kVectorBytes) Vector {
    Acc value[kVector];
  };

  const int32_t filter_;
  const int32_t column_;
  Acc sums_[kFilters][kVector] = {};
};

}  // namespace maskconv::grad_weight
