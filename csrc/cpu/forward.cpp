#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/product.h"
#include "cpu/store.h"
#include "cpu/weights.h"
#include "cpu/window.h"

namespace maskconv::cpu {
namespace {

double scale_of(Normalization normalization, double window, double sum) {
  switch (normalization) {
    case Normalization::kRatio:
      return window / sum;
    case Normalization::kMean:
      return 1.0 / sum;
    case Normalization::kSqrt:
      return std::sqrt(window / sum);
    case Normalization::kNone:
      break;
  }
  return 1.0;
}

// Scale, bias and fill, on (count, K) products.
template <typename Acc>
struct Epilogue {
  const ConvProblem& problem;
  const std::vector<uint8_t>& valid;
  const void* window_sum;
  bool soft;
  int32_t window_channels;
  double window;
  const Acc* bias;  // or null

  Acc fill_value(int32_t k) const {
    if (!problem.fill_with_bias) return Acc(problem.fill);
    return bias ? bias[k] : Acc(0);
  }

  double sum(int64_t i) const {
    return soft ? double(static_cast<const Acc*>(window_sum)[i])
                : double(static_cast<const int32_t*>(window_sum)[i]);
  }

  void operator()(const int64_t* rows, int64_t count, Acc* products) const {
    const int64_t positions = problem.output_positions();
    const int32_t filters = problem.filters / window_channels;  // that a window sum serves
    for (int64_t i = 0; i < count; ++i) {
      const int64_t q = (problem.window_batch() > 1 ? rows[i] : rows[i] % positions) * window_channels;
      for (int32_t g = 0; g < window_channels; ++g, products += filters) {
        const int32_t first = g * filters;
        if (valid[q + g]) {
          const double s = sum(q + g);
          const Acc factor = s != 0 ? Acc(scale_of(problem.normalization, window, s)) : Acc(1);
          scale_and_add(products, factor, bias ? bias + first : nullptr, filters);
        } else {
          for (int32_t k = 0; k < filters; ++k) products[k] = fill_value(first + k);
        }
      }
    }
  }
};

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask, const T* x,
         const T* weight, const T* bias, const ForwardOutput& out) {
  using Acc = typename Compute<T>::type;
  using Product = BlockProduct<T>;
  struct Scratch {
    typename Product::Scratch product;
    Buffer<T> rounded;
  };
  const std::vector<uint8_t> valid = compute_window(runtime, problem, dtype, mask, out);
  if (problem.rows() == 0 || problem.filters == 0) return;

  std::vector<Acc> weight_storage, bias_storage;
  const Epilogue<Acc> epilogue{problem,
                               valid,
                               out.window_sum,
                               mask.kind == MaskKind::kSoft,
                               mask.window_channels,
                               double(window_size(problem, mask)),
                               as_compute(bias, problem.filters, bias_storage)};
  const OutputView<T> y{static_cast<T*>(out.y), out.strides, problem.output_positions(), problem.filters};
  const OwnedLiveMap row_live = live_outputs(runtime, problem, mask.window_channels, valid.data());
  std::vector<T> fill(problem.filters);
  for (int32_t k = 0; k < problem.filters; ++k) fill[k] = narrow<T>(epilogue.fill_value(k));
  y.fill_dead(runtime, problem.batch, row_live, fill);

  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  const TapTable table = TapTable::to_input(problem);
  const OwnedLiveMap source_live = live_inputs(runtime, problem, dtype, mask);
  const Product product{runtime,
                        table,
                        source_live,
                        {x, problem.channels, groups, cut_segments(mask, problem.channels, groups),
                         SegmentMask<Acc>(mask, problem.mask_batch, problem.input_positions())},
                        forward_operand(problem, weight, weight_storage),
                        problem.filters,
                        depthwise};
  constexpr int32_t kUnitStride[kAxes] = {1, 1, 1}, kNoPadding[kAxes] = {0, 0, 0};
  RowList rows = list_rows(runtime, problem.batch, problem.output, row_live, kUnitStride, kNoPadding);
  const int64_t total = int64_t(rows.size());
  const int64_t block = choose_block_rows(total, product.row_bytes(), runtime.threads);
  if (product.worth_grouping()) group_rows_by_taps(runtime, table, source_live, block, rows);
  for_each_block<Scratch>(runtime, (total + block - 1) / block, [&](int64_t b, Scratch& scratch) {
    const int64_t* first = rows.data() + b * block;
    const int64_t count = std::min(block, total - b * block);
    Acc* values = product(first, count, scratch.product);
    epilogue(first, count, values);
    y.store(first, count, values, scratch.rounded.get(count * problem.filters));
  });
}

}  // namespace

void forward(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
             const void* x, const void* weight, const void* bias, const ForwardOutput& out) {
  // An empty batch whose mask is empty too leaves nothing to write.
  if (mask.kind != MaskKind::kNone && problem.mask_batch == 0) return;
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, dtype, mask, static_cast<const T*>(x), static_cast<const T*>(weight),
        static_cast<const T*>(bias), out);
  });
}

}  // namespace maskconv::cpu
