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

// A row by its image and its position along the axes.
struct RowPlace {
  int64_t image;
  int32_t at[kAxes];
};

class TapTable {
 public:
  static TapTable to_input(const ConvProblem& problem);
  static TapTable to_output(const ConvProblem& problem);

  int32_t taps() const { return kernel_[0] * kernel_[1] * kernel_[2]; }
  int32_t kernel(int axis) const { return kernel_[axis]; }
  int32_t sources(int axis) const { return sources_[axis]; }
  int32_t rows(int axis) const { return rows_[axis]; }
  int64_t row_positions() const { return int64_t{rows_[0]} * rows_[1] * rows_[2]; }
  int64_t source_positions() const { return int64_t{sources_[0]} * sources_[1] * sources_[2]; }

  // source[i * taps + t] is the position in the whole batch that rows[i] (also in the whole batch) reads at
  // tap t, or -1 where that is outside the image or not live.
  void lookup(const int64_t* rows, int64_t count, const LiveMap& live, int64_t* source) const;

  // The same along one axis: a source position or -1.
  int32_t source(int axis, int32_t row, int32_t tap) const { return index_[axis][row * kernel_[axis] + tap]; }

  // Along the last axis a row reads positions low(row), and so on up to `span` of them, `step` apart from tap
  // to tap (negative: from the last one down). Step 0: it does not, but what a stride leaves of them.
  int32_t step() const { return step_; }
  int32_t span() const { return span_; }
  int32_t low(int32_t row) const { return first_low_ + row * row_step_; }
  int32_t row_step() const { return row_step_; }
  int32_t last_high() const { return low(rows_[kAxes - 1] - 1) + span_; }

  RowPlace locate(int64_t row) const {
    // Divisions of 32 bits are several times faster.
    return row <= INT32_MAX ? locate_as(uint32_t(row)) : locate_as(uint64_t(row));
  }

 private:
  template <typename Int>
  RowPlace locate_as(Int row) const {
    const Int line = row / Int(rows_[2]), plane = line / Int(rows_[1]), image = plane / Int(rows_[0]);
    return {int64_t(image),
            {int32_t(plane - image * Int(rows_[0])), int32_t(line - plane * Int(rows_[1])),
             int32_t(row - line * Int(rows_[2]))}};
  }

  int32_t rows_[kAxes], sources_[kAxes], kernel_[kAxes];
  std::vector<int32_t> index_[kAxes];  // [row * kernel + tap]
  int32_t first_low_, row_step_, step_, span_;
};

}  // namespace maskconv::cpu
