// The order in which tiles take their rows. Holes save work only where the rows of a tile have the same live
// taps: in raster order a few pixels anywhere make a tile visit nearly all of them. So rows are sorted by
// what taps they have, descending: full tiles start first, and rows without sums come last, in tiles that
// only fill.
//
// An order is a permutation of all rows, hence right for every mask, if slower for another than its own. How
// many rows are live is asked nowhere: the grid is the same, the host waits for nothing, and a launch can be
// captured in a CUDA graph. grad_weight takes none: its blocks gather the live rows of each tap as they go.
#pragma once

#include <limits>
#include <string>

#include "plan/candidates.h"
#include "plan/forward_params.h"
#include "plan/gemm_planner.h"
#include "plan/grad_input_params.h"
#include "plan/row_key_params.h"

namespace maskconv {

constexpr int64_t kMaxOrderedRows = std::numeric_limits<uint32_t>::max();

RowKeyFormat row_key_format(int32_t taps, int64_t classes);
RowKeyFormat row_key_format(const ForwardArguments& arguments);
RowKeyFormat row_key_format(const GradInputArguments& arguments);

int64_t row_count(const ForwardArguments& arguments);
int64_t row_count(const GradInputArguments& arguments);

// Of arguments only problem and masks are read.
RowKeyParams<ForwardParams> make_row_key_params(const ForwardArguments& arguments, uint32_t* keys,
                                                uint32_t* numbers);
RowKeyParams<GradInputParams> make_row_key_params(const GradInputArguments& arguments, uint32_t* keys,
                                                  uint32_t* numbers);

// Empty if rows can be ordered, else why not, as the end of a sentence.
std::string why_not_row_order(int64_t rows);

// Whether a launch of `chosen` should build itself an order. What share of the pixels is valid only the
// device knows, so this asks what an all-ones mask would lose: at most a few percent.
bool expects_row_order_to_pay(const ForwardArguments& arguments, const Candidate& chosen,
                              const DeviceProperties& device);
bool expects_row_order_to_pay(const GradInputArguments& arguments, const Candidate& chosen,
                              const DeviceProperties& device);

}  // namespace maskconv
