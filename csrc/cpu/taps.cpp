#include "cpu/taps.h"

#include <cstddef>

namespace maskconv::cpu {

TapTable TapTable::to_input(const ConvProblem& problem) {
  TapTable table;
  for (int a = 0; a < kAxes; ++a) {
    table.rows_[a] = problem.output[a];
    table.sources_[a] = problem.input[a];
    table.kernel_[a] = problem.kernel[a];
    table.index_[a].resize(size_t(problem.output[a]) * problem.kernel[a]);
    int32_t* index = table.index_[a].data();
    for (int64_t q = 0; q < problem.output[a]; ++q)
      for (int64_t t = 0; t < problem.kernel[a]; ++t) {
        const int64_t p = q * problem.stride[a] + t * problem.dilation[a] - problem.padding[a];
        *index++ = p >= 0 && p < problem.input[a] ? int32_t(p) : -1;
      }
  }
  constexpr int kLast = kAxes - 1;
  table.step_ = problem.dilation[kLast];
  table.span_ = (problem.kernel[kLast] - 1) * problem.dilation[kLast] + 1;
  table.first_low_ = -problem.padding[kLast];
  table.row_step_ = problem.stride[kLast];
  return table;
}

TapTable TapTable::to_output(const ConvProblem& problem) {
  TapTable table;
  for (int a = 0; a < kAxes; ++a) {
    table.rows_[a] = problem.input[a];
    table.sources_[a] = problem.output[a];
    table.kernel_[a] = problem.kernel[a];
    table.index_[a].resize(size_t(problem.input[a]) * problem.kernel[a]);
    int32_t* index = table.index_[a].data();
    for (int64_t p = 0; p < problem.input[a]; ++p)
      for (int64_t t = 0; t < problem.kernel[a]; ++t) {
        const int64_t numerator = p + problem.padding[a] - t * problem.dilation[a];
        const int64_t q = numerator / problem.stride[a];
        const bool exact = numerator >= 0 && q * problem.stride[a] == numerator && q < problem.output[a];
        *index++ = exact ? int32_t(q) : -1;
      }
  }
  constexpr int kLast = kAxes - 1;
  table.step_ = problem.stride[kLast] == 1 ? -problem.dilation[kLast] : 0;
  table.span_ = (problem.kernel[kLast] - 1) * problem.dilation[kLast] + 1;
  table.first_low_ = problem.padding[kLast] + 1 - table.span_;
  table.row_step_ = 1;
  return table;
}

void TapTable::lookup(const int64_t* rows, int64_t count, const LiveMap& live, int64_t* source) const {
  const int64_t positions = row_positions();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t n = rows[i] / positions;
    const int64_t line = (rows[i] - n * positions) / rows_[2];
    const int64_t w = rows[i] - n * positions - line * rows_[2];
    const int64_t d = line / rows_[1];
    const int64_t h = line - d * rows_[1];
    const uint8_t* alive = live.image(n);
    const int64_t image = n * source_positions();
    const int32_t* along_w = &index_[2][w * kernel_[2]];
    for (int32_t td = 0; td < kernel_[0]; ++td) {
      const int64_t sd = index_[0][d * kernel_[0] + td];
      for (int32_t th = 0; th < kernel_[1]; ++th, source += kernel_[2]) {
        const int64_t sh = index_[1][h * kernel_[1] + th];
        const bool inside = sd >= 0 && sh >= 0;
        const int64_t first = (sd * sources_[1] + sh) * sources_[2];
        for (int32_t tw = 0; tw < kernel_[2]; ++tw) {
          const int64_t position = first + along_w[tw];
          const bool reads = inside && along_w[tw] >= 0 && (!alive || alive[position]);
          source[tw] = reads ? image + position : -1;
        }
      }
    }
  }
}

}  // namespace maskconv::cpu
