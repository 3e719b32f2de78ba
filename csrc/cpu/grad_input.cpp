#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/product.h"
#include "cpu/store.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
         const OutputGradient& grad, const T* weight, T* grad_input) {
  using Acc = typename Compute<T>::type;
  const int64_t positions = problem.input_positions();
  const int32_t channels = problem.channels;
  if (problem.batch * positions * channels == 0) return;
  const OwnedLiveMap row_live = live_inputs(runtime, problem, dtype, mask);
  const OutputView<T> out{grad_input, {positions * channels, channels, 1}, positions, channels};
  out.fill_dead(runtime, problem.batch, row_live, std::vector<T>(channels, T{}));

  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  const MaskView scale = mask_of_gradient(grad, problem.filters);
  const TapTable table = TapTable::to_output(problem);
  const OwnedLiveMap source_live = live_outputs(runtime, problem, grad.window_channels, grad.valid);
  Source<T> source{static_cast<const T*>(grad.grad),
                   problem.filters,
                   table,
                   problem.batch,
                   source_live,
                   cut_segments(scale, problem.filters, 1),
                   SegmentMask<Acc>(scale, problem.window_batch(), problem.output_positions())};
  const SegmentLayout layout = SegmentLayout::choose(table, problem.filters / groups, groups, depthwise);
  typename BlockProduct<T>::Factors factors;
  factors.push_back(std::make_unique<Factor<T>>(runtime, table, std::move(source), layout,
                                                backward_panels(runtime, problem, layout, weight)));
  const BlockProduct<T> product(std::move(factors), groups, channels, depthwise);
  const std::vector<Segment> segments = cut_segments(mask, channels, 1);
  const SegmentMask<Acc> masker(mask, problem.mask_batch, positions);
  RowList rows = list_rows(runtime, problem.batch, problem.input, row_live, problem.stride, problem.padding);
  if (product.by_taps()) group_rows_by_taps(runtime, table, source_live, product.tile_rows(), rows);
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
                const OutputGradient& grad, const void* weight, void* grad_input) {
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, dtype, mask, grad, static_cast<const T*>(weight), static_cast<T*>(grad_input));
  });
}

}  // namespace maskconv::cpu
