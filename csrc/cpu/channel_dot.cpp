// Products summed over channels, in either layout.
#include <cstdint>
#include <vector>

#include "cpu/clones.h"
#include "cpu/engine.h"
#include "cpu/positions.h"
#include "cpu/store.h"

namespace maskconv::cpu {
namespace {

template <typename T>
struct Block {
  const T* a;  // of the block's first position, as all that follows
  const T* b;
  const uint8_t* mask;
  typename Compute<T>::type* dots;
  int64_t rows;
  Strides strides;  // of a and b
  const MaskPart* parts;
  int64_t part_count;
};

// Channels are contiguous.
template <typename T>
MASKCONV_INLINE void dot_rows(const Block<T>& block) {
  using Acc = typename Compute<T>::type;
  for (int64_t row = 0; row < block.rows; ++row) {
    const T* a = block.a + row * block.strides.position;
    const T* b = block.b + row * block.strides.position;
    for (int64_t part = 0, at = row * block.part_count; part < block.part_count; ++part, ++at) {
      Acc sum = 0;
      if (block.mask[at] != 0) {
        const int64_t first = block.parts[part].first_channel, end = first + block.parts[part].channels;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = first; c < end; ++c) sum += Acc(widen(a[c])) * Acc(widen(b[c]));
      }
      block.dots[at] = sum;
    }
  }
}

// Positions are contiguous.
template <typename T>
MASKCONV_INLINE void dot_planes(const Block<T>& block) {
  using Acc = typename Compute<T>::type;
  for (int64_t part = 0; part < block.part_count; ++part) {
    Acc sums[kBlockPositions] = {}, counts[kBlockPositions];
    for (int64_t row = 0; row < block.rows; ++row) counts[row] = block.mask[row * block.part_count + part];
    const int64_t first = block.parts[part].first_channel, end = first + block.parts[part].channels;
    for (int64_t c = first; c < end; ++c) {
      const T* a = block.a + c * block.strides.channel;
      const T* b = block.b + c * block.strides.channel;
#pragma omp simd
      for (int64_t row = 0; row < block.rows; ++row)
        sums[row] += counts[row] != 0 ? Acc(widen(a[row])) * Acc(widen(b[row])) : Acc(0);
    }
    for (int64_t row = 0; row < block.rows; ++row) block.dots[row * block.part_count + part] = sums[row];
  }
}

template <typename T>
MASKCONV_INLINE void dot_block(const Block<T>& block) {
  if (block.strides.channel == 1) {
    dot_rows(block);
  } else {
    dot_planes(block);
  }
}

MASKCONV_CLONES void dot(const Block<float>& block) { dot_block(block); }
MASKCONV_CLONES void dot(const Block<double>& block) { dot_block(block); }
MASKCONV_CLONES void dot(const Block<BFloat16>& block) { dot_block(block); }
MASKCONV_CLONES void dot(const Block<Half>& block) { dot_block(block); }

}  // namespace

void channel_dot(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                 const void* a, const void* b, const Strides& strides, void* dots) {
  const std::vector<MaskPart> parts = parts_of(mask, problem.channels);
  const auto part_count = int64_t(parts.size());
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    for_each_position_block(runtime, problem, strides, [&](const PositionBlock& at) {
      dot(Block<T>{static_cast<const T*>(a) + at.element, static_cast<const T*>(b) + at.element,
                   static_cast<const uint8_t*>(mask.data) + at.mask_row * part_count,
                   static_cast<typename Compute<T>::type*>(dots) + at.first * part_count, at.count, strides,
                   parts.data(), part_count});
    });
  });
}

}  // namespace maskconv::cpu
