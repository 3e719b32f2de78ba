// Writes blocks of finished rows, and the rows nobody computed, through the strides of the output.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/rows.h"
#include "cpu/taps.h"
#include "cpu/vector_ops.h"

namespace maskconv::cpu {

template <typename T>
struct OutputView {
  T* data;
  Strides strides;
  int64_t positions;  // of one image
  int32_t channels;

  T* row(int64_t row) const {
    if (strides.batch == positions * strides.position) return data + row * strides.position;
    const int64_t n = row / positions;
    return data + n * strides.batch + (row - n * positions) * strides.position;
  }

  // Where the values of a row may be written as they are; else null.
  template <typename Acc>
  Acc* in_place(int64_t row_index) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (strides.channel == 1) return row(row_index);
    }
    return nullptr;
  }

  // Values are (count, ld), the first of each row `channels` of them.
  template <typename Acc>
  void store(const int64_t* rows, int64_t count, const Acc* values, int64_t ld, Buffer<T>& scratch) const {
    if (strides.channel == 1) {
      for (int64_t i = 0; i < count; ++i) narrow(values + i * ld, row(rows[i]), channels);
      return;
    }
    constexpr int64_t kRows = 16;  // transposed at a time: a cache line of neighbouring positions
    T* rounded = scratch.get(kRows * channels);
    for (int64_t first = 0; first < count; first += kRows) {
      const int64_t n = std::min(kRows, count - first);
      T* to[kRows];
      for (int64_t i = 0; i < n; ++i) {
        to[i] = row(rows[first + i]);
        narrow(values + (first + i) * ld, rounded + i * channels, channels);
      }
      for (int32_t k = 0; k < channels; ++k)
        for (int64_t i = 0; i < n; ++i) to[i][k * strides.channel] = rounded[i * channels + k];
    }
  }

  // Gives every row that is not live these values, one a channel.
  void fill_dead(const Runtime& runtime, int64_t batch, const LiveMap& live,
                 const std::vector<T>& values) const {
    if (!live.data || batch * positions == 0) return;
    constexpr int64_t kGrain = 1 << 12;
    const bool all_equal = std::all_of(values.begin(), values.end(), [&](const T& value) {
      return std::memcmp(&value, &values[0], sizeof(T)) == 0;
    });
    constexpr T kZero{};
    const bool all_zero = all_equal && std::memcmp(&values[0], &kZero, sizeof(T)) == 0;
    runtime.parallel_for(0, batch * positions, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin, last; first < end; first = last) {
        const int64_t n = first / positions, image = n * positions;
        const uint8_t* alive = live.image(n);
        last = first + 1;
        if (alive[first - image]) continue;
        const int64_t stop = std::min(end, image + positions);
        while (last < stop && !alive[last - image]) ++last;
        T* to = row(first);
        if (strides.channel == 1 && strides.position == channels && all_equal) {
          const int64_t count = (last - first) * channels;
          if (all_zero) {
            std::memset(static_cast<void*>(to), 0, count * sizeof(T));  // the fastest way to write much
          } else {
            std::fill_n(to, count, values[0]);
          }
        } else if (strides.channel == 1) {
          for (int64_t i = 0; i < last - first; ++i)
            std::copy(values.begin(), values.end(), to + i * strides.position);
        } else {
          for (int32_t k = 0; k < channels; ++k)
            for (int64_t i = 0; i < last - first; ++i)
              to[k * strides.channel + i * strides.position] = values[k];
        }
      }
    });
  }
};

// Values of T as compute type: themselves, or converted into storage.
template <typename T, typename Acc = typename Compute<T>::type>
const Acc* as_compute(const T* values, int64_t n, std::vector<Acc>& storage) {
  if constexpr (std::is_same_v<T, Acc>) {
    return values;
  } else {
    if (!values) return nullptr;
    storage.resize(n);
    widen(values, storage.data(), n);
    return storage.data();
  }
}

// Calls fn with a value of the element type.
template <typename Fn>
void dispatch(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::kFloat32:
      return fn(float{});
    case DType::kFloat64:
      return fn(double{});
    case DType::kBFloat16:
      return fn(BFloat16{});
    case DType::kFloat16:
      return fn(Half{});
  }
}

}  // namespace maskconv::cpu
