#include <cstdint>
#include <vector>

#include "cpu/epilogue.h"
#include "cpu/few_rows.h"
#include "cpu/product.h"
#include "cpu/store.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

// One, or one for each part of a hard mask: so a part is read as it lies, and where it is live.
template <typename T>
typename BlockProduct<T>::Factors factors_of(const Runtime& runtime, const ConvProblem& problem,
                                             const TapTable& table, const MaskView& mask,
                                             const LiveMap& source_live,
                                             const std::vector<OwnedLiveMap>& parts, const T* x,
                                             const T* weight) {
  static const MaskView kUnmasked;  // but for what is live
  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  typename BlockProduct<T>::Factors factors;
  for (size_t i = 0; i < parts.size(); ++i) {
    const MaskPart& part = mask.parts[i];
    const SegmentLayout layout = SegmentLayout::each_tap(table, part.channels);
    factors.push_back(std::make_unique<Factor<T>>(
        runtime, table, input_source(problem, table, kUnmasked, parts[i], x), layout,
        forward_panels(runtime, problem, layout, weight, part.first_channel), part.first_channel));
  }
  if (!factors.empty()) return factors;
  const SegmentLayout layout = SegmentLayout::choose(table, problem.channels / groups, groups, depthwise);
  factors.push_back(std::make_unique<Factor<T>>(runtime, table,
                                                input_source(problem, table, mask, source_live, x), layout,
                                                forward_panels(runtime, problem, layout, weight)));
  return factors;
}

std::vector<Piece> pieces_of(const ConvProblem& problem, const MaskView& mask, const LiveMap& source_live,
                             const std::vector<OwnedLiveMap>& parts) {
  if (parts.empty()) return {{0, problem.channels_per_group(), &source_live}};
  std::vector<Piece> pieces;
  for (size_t i = 0; i < parts.size(); ++i)
    pieces.push_back({mask.parts[i].first_channel, mask.parts[i].channels, &parts[i]});
  return pieces;
}

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask, const T* x,
         const T* weight, const T* bias, const std::vector<uint8_t>& valid, const ForwardOutput& out) {
  using Acc = typename Compute<T>::type;
  if (problem.rows() == 0 || problem.filters == 0) return;

  std::vector<Acc> bias_storage;
  const Epilogue<Acc> epilogue(problem, mask, valid, out, as_compute(bias, problem.filters, bias_storage));
  const OutputView<T> y{static_cast<T*>(out.y), out.strides, problem.output_positions(), problem.filters};
  const OwnedLiveMap row_live = live_outputs(runtime, problem, mask.window_channels, valid.data());
  std::vector<T> fill(problem.filters);
  for (int32_t k = 0; k < problem.filters; ++k) fill[k] = narrow<T>(epilogue.fill(k));
  y.fill_dead(runtime, problem.batch, row_live, fill);

  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  const TapTable table = TapTable::to_input(problem);
  const OwnedLiveMap source_live = live_inputs(runtime, problem, dtype, mask);
  std::vector<OwnedLiveMap> parts;
  if (std::is_same_v<T, Acc> && problem.groups == 1) parts = live_parts(runtime, problem, mask);
  constexpr int32_t kUnitStride[kAxes] = {1, 1, 1}, kNoPadding[kAxes] = {0, 0, 0};
  RowList rows = list_rows(runtime, problem.batch, problem.output, row_live, kUnitStride, kNoPadding);
  if (rows.empty()) return;
  const auto finish = [&](const int64_t* block, int64_t n, const Acc* sums, int64_t ld, Acc* const* to) {
    epilogue(block, n, sums, ld, to);
  };
  if constexpr (std::is_same_v<T, Acc>) {
    const bool as_it_lies = !parts.empty() || (mask.kind != MaskKind::kSoft && mask.shared());
    if (int64_t(rows.size()) <= kFewRows && as_it_lies && !depthwise) {
      const FewRows<T> product(problem, table, pieces_of(problem, mask, source_live, parts), x, rows);
      return few_rows(runtime, product, rows, weight, y, finish);
    }
  }
  const BlockProduct<T> product(factors_of(runtime, problem, table, mask, source_live, parts, x, weight),
                                groups, problem.filters, depthwise);
  if (product.by_taps()) group_rows_by_taps(runtime, table, source_live, product.tile_rows(), rows);
  for_each_row_block<T>(runtime, product, rows, y, finish);
}

}  // namespace

void forward(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
             const void* x, const void* weight, const void* bias, const std::vector<uint8_t>& valid,
             const ForwardOutput& out) {
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, dtype, mask, static_cast<const T*>(x), static_cast<const T*>(weight),
        static_cast<const T*>(bias), valid, out);
  });
}

}  // namespace maskconv::cpu
