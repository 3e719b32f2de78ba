#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/rows.h"
#include "cpu/store.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kChunkRows = 256;          // share a partial sum
constexpr int64_t kBlockElements = 1 << 12;  // converted or transposed at a time, in first-level cache

// Rows [first, first + count), as (count, K): gathered into `to`, unless they lie so already.
template <typename T, typename Acc>
const Acc* gather(const GradBiasProblem& problem, const T* grad, const Strides& strides, int64_t first,
                  int64_t count, Acc* to) {
  const int64_t positions = problem.positions, filters = problem.filters;
  if (strides.channel == 1) {
    if constexpr (std::is_same_v<T, Acc>) return grad + first * filters;
    widen(grad + first * filters, to, count * filters);
    return to;
  }
  for (int64_t done = 0; done < count;) {
    const int64_t n = (first + done) / positions, p = first + done - n * positions;
    const int64_t run = std::min(count - done, positions - p);
    for (int64_t k = 0; k < filters; ++k) {
      const T* from = grad + n * strides.batch + p * strides.position + k * strides.channel;
      for (int64_t i = 0; i < run; ++i) to[(done + i) * filters + k] = widen(from[i * strides.position]);
    }
    done += run;
  }
  return to;
}

template <typename T>
void run(const Runtime& runtime, const GradBiasProblem& problem, const T* grad, const Strides& strides,
         const uint8_t* valid, T* grad_bias) {
  using Acc = typename Compute<T>::type;
  using Scratch = Buffer<Acc>;
  const int64_t rows = problem.rows(), filters = problem.filters, channels = problem.window_channels;
  if (filters == 0) return;
  const int64_t window_rows = problem.window_batch * problem.positions;
  const int64_t columns = problem.filters_per_window();
  const int64_t block_rows = std::clamp<int64_t>(kBlockElements / filters, 1, kChunkRows);
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  std::vector<Acc> partial(chunks * filters);

  for_each_block<Scratch>(runtime, chunks, [&](int64_t chunk, Scratch& scratch) {
    Acc* sums = &partial[chunk * filters];
    const int64_t last = std::min((chunk + 1) * kChunkRows, rows);
    for (int64_t first = chunk * kChunkRows, count; first < last; first += count) {
      count =
          std::min({block_rows, last - first, window_rows - first % window_rows});  // windows lie together
      const Acc* from = gather(problem, grad, strides, first, count, scratch.get(block_rows * filters));
      const uint8_t* counts = valid ? valid + first % window_rows * channels : nullptr;
      for (int64_t g = 0; g < channels; ++g)
        sum_rows(CountedRows<Acc>{from + g * columns, count, columns, filters, counts ? counts + g : nullptr,
                                  channels},
                 sums + g * columns);
    }
  });
  std::vector<double> total(filters);  // there may be very many partial sums
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    for (int64_t k = 0; k < filters; ++k) total[k] += partial[chunk * filters + k];
  for (int64_t k = 0; k < filters; ++k) grad_bias[k] = narrow<T>(Acc(total[k]));
}

}  // namespace

void grad_bias(const Runtime& runtime, const GradBiasProblem& problem, DType dtype, const void* grad,
               const Strides& strides, const uint8_t* valid, void* grad_bias) {
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, static_cast<const T*>(grad), strides, valid, static_cast<T*>(grad_bias));
  });
}

}  // namespace maskconv::cpu
