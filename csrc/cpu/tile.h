// The inner loops of the engine: the sums of a few rows, held in registers while all they read passes by.
// Rows are read through pointers, one for each row and segment, so that nothing is gathered first: a hole
// points to zeros.
#pragma once

#include <cstdint>

namespace maskconv::cpu {

// A segment is what lies together of all that a row reads: the channels of one tap, say.
template <typename T>
struct TileOperands {
  const T* const* rows;     // (segments, rows of a tile)
  const T* const* weights;  // (segments): what a segment is multiplied with
  int64_t segments;
  int64_t offset;  // added to every pointer of `rows`
  int64_t length;  // of what is read of every segment from there
  int32_t taps;    // of a segment; depthwise only
  T* sums;         // (rows of a tile, ld)
  int64_t ld;
  bool add;       // to what is in sums
  const T* next;  // where what the next tile reads first begins: fetched into cache meanwhile
};

// The weight gradient: pairs of what was read and the gradient of what it went into, one pair after the
// other.
template <typename T>
struct PairOperands {
  const T* const* values;  // (pairs)
  const T* const* grads;   // (pairs)
  int64_t pairs;
  int64_t value_offset, grad_offset;  // added to every pointer
  T* sums;                            // (steps, ld)
  int64_t ld;
};

// Outputs [first, end) of a line in a plane, of one filter or two: so many terms, each a source line and a
// line of taps.
template <typename T>
struct LineOperands {
  const T* const* sources;
  const T* const* weights;  // of the first filter
  int64_t terms;
  int32_t taps, dilation;
  T* sums;  // of the whole line
  int64_t first, end;
  int64_t filter_weights, filter_sums;  // from those of one filter to those of the next
};

// A tile of rows, and filters whose weights are read as they lie.
template <typename T>
struct DotOperands {
  const T* const* rows;    // (terms, rows of a tile): what lies together of all that a row reads, one a term
  const int64_t* places;   // (terms): where the weights of a term are in those of a filter
  const int64_t* lengths;  // (terms)
  int64_t terms;
  int64_t offset;    // added to every pointer of `rows`
  const T* weights;  // of the first filter
  int64_t filter_size;
  T* sums;  // (rows of a tile, ld)
  int64_t ld;
};

// How far past the end of a source line its vectors reach.
inline constexpr int64_t kLineOverread = 64;  // bytes

// The loops for this CPU's vectors.
template <typename T>
struct TileKernels {
  int32_t vector_bytes;

  // sums[i][j] = sum over segments s, steps t < length of rows[s][i][offset + t] * weights[s][t * panel + j],
  // for the `panel` filters j of a panel, or as few as a vector holds: `narrow_panel`.
  int32_t rows;
  int32_t panel, narrow_panel;
  void (*multiply)(const TileOperands<T>&);
  void (*multiply_narrow)(const TileOperands<T>&);

  // Depthwise, `length` channels a tap: sums[i][c] = sum over segments s and their taps t of
  // rows[s][i][offset + t * length + c] * weights[s][t * length + c], for c < length.
  int32_t channel_rows;
  void (*multiply_channels)(const TileOperands<T>&);

  // sums[i][j] += sum over pairs of values[.][value_offset + i] * grads[.][grad_offset + j], for i < 2^n
  // steps, n < step_sizes, and the filters of a panel.
  using AddPairs = void (*)(const PairOperands<T>&);
  int32_t step_sizes;
  AddPairs add_pairs[4], add_pairs_narrow[4];

  // Depthwise: sums[c] += sum over pairs of values[.][c] * grads[.][c], for c < ld.
  AddPairs add_channel_pairs;

  // sums[i][f] = sum over terms t, and j < lengths[t], of rows[t][i][offset + j] *
  // weights[f * filter_size + places[t] + j]: of one filter, of `dot_filters`.
  int32_t dot_rows, dot_filters;
  void (*dot[2])(const DotOperands<T>&);

  // sums[q] = sum over terms and taps t of sources[.][q + t * dilation] * weights[.][t]: of one filter, of
  // two.
  void (*sum_line[2])(const LineOperands<T>&);
};

template <typename T>
const TileKernels<T>& tile_kernels();

// What it chooses from on x86-64.
template <typename T>
const TileKernels<T>& tile_kernels_avx512();
template <typename T>
const TileKernels<T>& tile_kernels_avx2();

}  // namespace maskconv::cpu
