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
  using Product = BlockProduct<T>;
  struct Scratch {
    typename Product::Scratch product;
    Buffer<T> rounded;
  };
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
  std::vector<Acc> weight_storage;
  const Product product{runtime,
                        table,
                        source_live,
                        {static_cast<const T*>(grad.grad), problem.filters, groups,
                         cut_segments(scale, problem.filters, groups),
                         SegmentMask<Acc>(scale, problem.window_batch(), problem.output_positions())},
                        backward_operand(runtime, problem, weight, weight_storage),
                        channels,
                        depthwise};
  const std::vector<Segment> segments = cut_segments(mask, channels, 1);
  const SegmentMask<Acc> masker(mask, problem.mask_batch, positions);
  RowList rows = list_rows(runtime, problem.batch, problem.input, row_live, problem.stride, problem.padding);
  const int64_t total = int64_t(rows.size());
  const int64_t block = choose_block_rows(total, product.row_bytes(), runtime.threads);
  if (product.worth_grouping()) group_rows_by_taps(runtime, table, source_live, block, rows);
  for_each_block<Scratch>(runtime, (total + block - 1) / block, [&](int64_t b, Scratch& scratch) {
    const int64_t* first = rows.data() + b * block;
    const int64_t count = std::min(block, total - b * block);
    Acc* values = product(first, count, scratch.product);
    if (!masker.trivial()) {
      for (int64_t i = 0; i < count; ++i)
        for (const Segment& segment : segments)
          masker.apply(values + i * channels + segment.channel, segment, first[i]);
    }
    out.store(first, count, values, scratch.rounded.get(count * channels));
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
