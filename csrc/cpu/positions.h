// Passes over an array in either layout, beside a mask of any kind: blocks of positions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/engine.h"
#include "cpu/rows.h"

namespace maskconv::cpu {

constexpr int64_t kBlockPositions = 256;

// Positions [first, first + count) of the batch, all of one image.
struct PositionBlock {
  int64_t first, count;
  int64_t element;   // that of the array at `first`, in its first channel
  int64_t mask_row;  // that of the mask at `first`
};

template <typename Fn>
void for_each_position_block(const Runtime& runtime, const ConvProblem& problem, const Strides& strides,
                             const Fn& fn) {
  struct Nothing {};
  const int64_t positions = problem.input_positions();
  const int64_t blocks = (positions + kBlockPositions - 1) / kBlockPositions;
  for_each_block<Nothing>(runtime, problem.batch * blocks, [&](int64_t index, Nothing&) {
    const int64_t image = index / blocks, at = index % blocks * kBlockPositions;
    fn(PositionBlock{image * positions + at, std::min(kBlockPositions, positions - at),
                     image * strides.batch + at * strides.position,
                     (problem.mask_batch > 1 ? image * positions : 0) + at});
  });
}

// Also of a shared mask, which has a single one.
inline std::vector<MaskPart> parts_of(const MaskView& mask, int32_t channels) {
  return mask.parts.empty() ? std::vector<MaskPart>{{0, 0, channels}} : mask.parts;
}

}  // namespace maskconv::cpu
