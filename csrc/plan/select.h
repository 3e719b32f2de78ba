// Selecting the input under a mask of any kind: (x where m != 0, else 0) * m, channels last.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>

#include "plan/channel_mask.h"
#include "plan/conv_problem.h"
#include "plan/row_blocks.h"

namespace maskconv {

// Pointers are to device memory (host memory in the emulation).
struct SelectArguments {
  ConvProblem problem;
  DType dtype = DType::kFloat32;  // of x and selected; soft mask values are in its accumulator's type
  ChannelMask mask;
  const void* x = nullptr;    // (N, D, H, W, C) if channels_last, else (N, C, D, H, W)
  bool channels_last = true;  // then selected may be x itself
  void* selected = nullptr;   // (N, D, H, W, C)
};

struct SelectParams : SelectArguments, RowBlocks {  // rows are positions, if channels_last
  // Else a block transposes a tile: kSelectTileChunks * (elements in 16 bytes) positions, and as many
  // channels.
  int32_t position_vector = 1;  // elements of a plane that a thread loads at once
  int64_t position_tiles = 0;   // of one image
  int32_t channel_tiles = 0;

  constexpr int64_t tiles() const { return problem.batch * position_tiles * channel_tiles; }
};

// A row of a tile is 128 bytes: one of each bank.
constexpr int32_t kSelectTileChunks = 8;
constexpr int32_t kSelectTileThreads = 128;

constexpr int32_t select_tile_elements(DType dtype) {
  return kSelectTileChunks * (kVectorBytes / element_bytes(dtype));
}
constexpr int32_t select_tile_bytes(DType dtype) {
  return select_tile_elements(dtype) * kSelectTileChunks * kVectorBytes;
}

inline SelectParams make_select_params(const SelectArguments& arguments) {
  const ConvProblem& problem = arguments.problem;
  const auto x = reinterpret_cast<uintptr_t>(arguments.x);
  const auto selected = reinterpret_cast<uintptr_t>(arguments.selected);
  const int64_t positions = problem.input_positions();
  const int32_t vector =
      row_vector(arguments.dtype, problem.channels, arguments.channels_last ? x | selected : selected);
  SelectParams params{arguments, cut_rows(problem.batch * positions, problem.channels, vector)};
  if (arguments.channels_last) return params;
  const int32_t tile = select_tile_elements(arguments.dtype);
  const int32_t widest = kVectorBytes / element_bytes(arguments.dtype);
  params.position_vector = positions % widest == 0 && x % kVectorBytes == 0 ? widest : 1;
  params.position_tiles = (positions + tile - 1) / tile;
  params.channel_tiles = (problem.channels + tile - 1) / tile;
  if (params.tiles() > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("the input has more tiles than one launch can carry");
  return params;
}

}  // namespace maskconv
