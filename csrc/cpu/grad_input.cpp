#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/product.h"
#include "cpu/store.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask, const T* grad,
         const T* weight, const uint8_t* valid, T* grad_input) {
  using Acc = typename Compute<T>::type;
  const int64_t positions = problem.input_positions();
  const int32_t channels = problem.channels;
  if (problem.batch * positions * channels == 0) return;
  const OwnedLiveMap row_live = live_inputs(runtime, problem, dtype, mask);
  const OutputView<T> out{grad_input, {positions * channels, channels, 1}, positions, channels};
  out.fill_dead(runtime, problem.batch, row_live, std::vector<T>(channels, T{}));

  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  const MaskView unmasked;
  const TapTable table = TapTable::to_output(problem);
  const OwnedLiveMap source_live = live_outputs(runtime, problem, mask.window_channels, valid);
  const Source<T> source{grad,
                         problem.filters,
                         table,
                         problem.batch,
                         source_live,
                         cut_segments(problem.filters, 1),
                         SegmentMask<Acc>(unmasked, 0, problem.output_positions())};
  const SegmentLayout layout = SegmentLayout::choose(table, problem.filters / groups, groups, depthwise);
  const Panels<Acc> weights = backward_panels(runtime, problem, layout, weight);
  const BlockProduct<T> product(runtime, table, source, layout, weights, groups, channels, depthwise);
  const std::vector<Segment> segments = cut_segments(mask, channels, 1);
  const SegmentMask<Acc> masker(mask, problem.mask_batch, positions);
  RowList rows = list_rows(runtime, problem.batch, problem.input, row_live, problem.stride, problem.padding);
  group_rows_by_taps(runtime, table, source_live, product.tile_rows(), rows);
  for_each_row_block<T>(runtime, product, rows, out,
                        [&](const int64_t* block, int64_t n, Acc* sums, int64_t ld, Acc* const* to) {
                          for (int64_t i = 0; i < n; ++i) {
                            Acc* values = to[i];
                            if (values != sums + i * ld) std::copy_n(sums + i * ld, channels, values);
                            if (masker.trivial()) continue;
                            for (const Segment& segment : segments)
                              masker.apply(values + segment.channel, segment, block[i]);
                          }
                        });
}

}  // namespace

void grad_input(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                const void* grad, const void* weight, const uint8_t* valid, void* grad_input) {
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, dtype, mask, static_cast<const T*>(grad), static_cast<const T*>(weight), valid,
        static_cast<T*>(grad_input));
  });
}

}  // namespace maskconv::cpu
