#include "cpu/transpose.h"

#include <algorithm>
#include <type_traits>

namespace maskconv::cpu {
namespace {

constexpr int64_t kLineBytes = 64;
constexpr int64_t kGrainBytes = 1 << 17;

// Through a copy: so every cache line of either matrix is touched once, wherever the power of two between
// them would have placed it. Sizes that the compiler knows make this twice as fast.
template <typename T, int64_t kSide, typename Height, typename Width>
void transpose_square(const T* from, int64_t columns, T* to, int64_t rows, Height height, Width width) {
  T square[kSide][kSide];
  for (int64_t r = 0; r < height; ++r) std::copy_n(from + r * columns, int64_t(width), square[r]);
  for (int64_t c = 0; c < width; ++c)
    for (int64_t r = 0; r < height; ++r) to[c * rows + r] = square[r][c];
}

template <typename T>
void run(const Runtime& runtime, int64_t batch, int64_t rows, int64_t columns, const T* from, T* to) {
  constexpr int64_t kSide = kLineBytes / int64_t(sizeof(T));
  constexpr std::integral_constant<int64_t, kSide> kWhole;
  const int64_t strips =
      (columns + kSide - 1) / kSide;  // of a matrix; a thread takes some, with all their rows
  const int64_t grain = kGrainBytes / (rows * kLineBytes) + 1;
  runtime.parallel_for(0, batch * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin, last; first < end; first = last) {
      const int64_t image = first / strips, matrix = image * rows * columns;
      last = std::min(end, (image + 1) * strips);
      for (int64_t row = 0; row < rows; row += kSide)
        for (int64_t strip = first - image * strips; strip < last - image * strips; ++strip) {
          const int64_t column = strip * kSide;
          const int64_t height = std::min(kSide, rows - row), width = std::min(kSide, columns - column);
          const T* source = from + matrix + row * columns + column;
          T* target = to + matrix + column * rows + row;
          if (height == kSide && width == kSide) {
            transpose_square<T, kSide>(source, columns, target, rows, kWhole, kWhole);
          } else {
            transpose_square<T, kSide>(source, columns, target, rows, height, width);
          }
        }
    }
  });
}

}  // namespace

void transpose(const Runtime& runtime, int64_t batch, int64_t rows, int64_t columns, int64_t element_bytes,
               const void* from, void* to) {
  if (batch * rows * columns == 0) return;
  const auto run_as = [&](auto element) {
    using T = decltype(element);
    run(runtime, batch, rows, columns, static_cast<const T*>(from), static_cast<T*>(to));
  };
  switch (element_bytes) {
    case 1:
      return run_as(uint8_t{});
    case 2:
      return run_as(uint16_t{});
    case 4:
      return run_as(uint32_t{});
    default:
      return run_as(uint64_t{});
  }
}

}  // namespace maskconv::cpu
