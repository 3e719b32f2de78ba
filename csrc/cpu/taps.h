// Which source position a row reads at a tap. Forward and weight gradient: rows are output positions, sources
// input positions. Input gradient: the other way round.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/conv_problem.h"

namespace maskconv::cpu {

// One byte per position, non-zero where there is something to read; null: everywhere.
struct LiveMap {
  const uint8_t* data = nullptr;
  int64_t image_stride = 0;  // 0: one map for the whole batch

  const uint8_t* image(int64_t n) const { return data ? data + n * image_stride : nullptr; }
};

class TapTable {
 public:
  static TapTable to_input(const ConvProblem& problem);
  static TapTable to_output(const ConvProblem& problem);

  int32_t taps() const { return kernel_[0] * kernel_[1] * kernel_[2]; }
  int64_t row_positions() const { return int64_t{rows_[0]} * rows_[1] * rows_[2]; }
  int64_t source_positions() const { return int64_t{sources_[0]} * sources_[1] * sources_[2]; }

  // source[i * taps + t] is the position in the whole batch that rows[i] (also in the whole batch) reads at
  // tap t, or -1 where that is outside the image or not live.
  void lookup(const int64_t* rows, int64_t count, const LiveMap& live, int64_t* source) const;

  // The same along one axis: [row * kernel + tap] -> source or -1.
  const std::vector<int32_t>& axis(int a) const { return index_[a]; }

 private:
  int32_t rows_[kAxes], sources_[kAxes], kernel_[kAxes];
  std::vector<int32_t> index_[kAxes];
};

}  // namespace maskconv::cpu
