// The input under a soft mask, in place and in either layout.
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
  T* x;  // of the block's first position, as the mask
  const typename Compute<T>::type* mask;
  int64_t rows;
  Strides strides;  // of x
  const MaskPart* parts;
  int64_t part_count;
};

template <typename T, typename Acc>
MASKCONV_INLINE T selected(T x, Acc m) {
  const Acc product = Acc(widen(x)) * m;
  return narrow<T>(m != 0 ? product : Acc(0));
}

template <typename T>
MASKCONV_INLINE void select_block(const Block<T>& block) {
  const int64_t position = block.strides.position, channel = block.strides.channel;
  for (int64_t part = 0; part < block.part_count; ++part) {
    const int64_t first = block.parts[part].first_channel, end = first + block.parts[part].channels;
    if (channel == 1) {
      for (int64_t row = 0; row < block.rows; ++row) {
        T* x = block.x + row * position;
        const auto m = block.mask[row * block.part_count + part];
#pragma omp simd
        for (int64_t c = first; c < end; ++c) x[c] = selected(x[c], m);
      }
    } else {
      for (int64_t c = first; c < end; ++c) {
        T* x = block.x + c * channel;
#pragma omp simd
        for (int64_t row = 0; row < block.rows; ++row)
          x[row] = selected(x[row], block.mask[row * block.part_count + part]);
      }
    }
  }
}

MASKCONV_CLONES void select_in(const Block<float>& block) { select_block(block); }
MASKCONV_CLONES void select_in(const Block<double>& block) { select_block(block); }
MASKCONV_CLONES void select_in(const Block<BFloat16>& block) { select_block(block); }
MASKCONV_CLONES void select_in(const Block<Half>& block) { select_block(block); }

}  // namespace

void select(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
            const Strides& strides, void* x) {
  const std::vector<MaskPart> parts = parts_of(mask, problem.channels);
  const auto part_count = int64_t(parts.size());
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    for_each_position_block(runtime, problem, strides, [&](const PositionBlock& at) {
      select_in(Block<T>{static_cast<T*>(x) + at.element,
                         static_cast<const typename Compute<T>::type*>(mask.data) + at.mask_row * part_count,
                         at.count, strides, parts.data(), part_count});
    });
  });
}

}  // namespace maskconv::cpu
