#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "cpu/row_reader.h"
#include "cpu/store.h"
#include "cpu/tile.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kElementGrain = 1 << 14;

// Sums over rows of what a row reads times its gradient. They are (groups, segments, steps, filters of a
// group, up to whole panels); depthwise (taps, channels).
template <typename T>
class WeightProduct {
 public:
  using Acc = typename Compute<T>::type;

  struct Scratch {
    typename RowReader<T>::Scratch reader;
    Buffer<const Acc*> rows;
    Buffer<Acc> grads;
    std::vector<const Acc*> values_of_pair, grads_of_pair;
  };

  WeightProduct(const Runtime& runtime, const ConvProblem& problem, const TapTable& table,
                const Source<T>& source, const OutputGradient& grad, bool depthwise)
      : depthwise_(depthwise),
        groups_(depthwise ? 1 : problem.groups),
        filters_(problem.filters),
        group_filters_(problem.filters / groups_),
        layout_(depthwise ? SegmentLayout::each_tap(table, problem.channels)
                          : SegmentLayout::choose(table, problem.channels / groups_, groups_, false)),
        reader_(runtime, table, source, layout_),
        grad_(static_cast<const T*>(grad.grad)),
        scale_(mask_of_gradient(grad, problem.filters)),
        scale_segments_(cut_segments(scale_, problem.filters, groups_)),
        scaler_(scale_, problem.window_batch(), problem.output_positions()) {
    const int32_t narrow = kernels_.narrow_panel;
    padded_ = depthwise ? group_filters_ : (group_filters_ + narrow - 1) / narrow * narrow;
  }

  const SegmentLayout& layout() const { return layout_; }
  int64_t steps() const { return depthwise_ ? 1 : layout_.length(); }
  int64_t size() const { return int64_t{groups_} * layout_.segments * steps() * padded_; }

  // Where in the sums the weight of a filter is.
  int64_t place(int32_t filter, int64_t segment, int64_t step) const {
    const int64_t group = filter / group_filters_;
    return ((group * layout_.segments + segment) * steps() + step) * padded_ + filter % group_filters_;
  }

  // Adds `count` rows, for segments [begin, end).
  void add(const int64_t* rows, int64_t count, int32_t begin, int32_t end, Scratch& scratch,
           Acc* sums) const {
    const Acc** pointers = scratch.rows.get(layout_.segments * count);
    scratch.reader.begin_block();
    reader_.point(rows, count, count, scratch.reader, pointers);
    const int64_t grad_ld = int64_t{groups_} * padded_;
    const Acc* grads = copy_grads(rows, count, grad_ld, scratch.grads);
    for (int32_t s = begin; s < end; ++s) {
      scratch.values_of_pair.clear();
      scratch.grads_of_pair.clear();
      for (int64_t i = 0; i < count; ++i) {
        if (pointers[s * count + i] == reader_.zeros()) continue;
        scratch.values_of_pair.push_back(pointers[s * count + i]);
        scratch.grads_of_pair.push_back(grads + i * grad_ld);
      }
      if (!scratch.values_of_pair.empty()) add_segment(s, scratch, sums);
    }
  }

 private:
  // Scaled, in the compute type, every group as wide as its panels.
  const Acc* copy_grads(const int64_t* rows, int64_t count, int64_t ld, Buffer<Acc>& buffer) const {
    Acc* to = buffer.get(count * ld);
    for (int64_t i = 0; i < count; ++i) {
      Acc* row = to + i * ld;
      for (int32_t g = 0; g < groups_; ++g) {
        Acc* values = row + int64_t{g} * padded_;
        widen(grad_ + rows[i] * filters_ + int64_t{g} * group_filters_, values, group_filters_);
        std::fill(values + group_filters_, values + padded_, Acc(0));
      }
      if (scaler_.trivial()) continue;
      for (const Segment& segment : scale_segments_)
        scaler_.apply(row + int64_t{segment.group} * padded_ + segment.offset, segment, rows[i]);
    }
    return to;
  }

  void add_segment(int32_t segment, const Scratch& scratch, Acc* sums) const {
    PairOperands<Acc> operands{scratch.values_of_pair.data(),
                               scratch.grads_of_pair.data(),
                               int64_t(scratch.values_of_pair.size()),
                               0,
                               0,
                               nullptr,
                               padded_};
    if (depthwise_) {
      operands.sums = sums + int64_t{segment} * padded_;
      return kernels_.add_channel_pairs(operands);
    }
    for (int32_t group = 0; group < groups_; ++group) {
      Acc* group_sums = sums + (int64_t{group} * layout_.segments + segment) * steps() * padded_;
      for (int32_t filter = 0, width; filter < padded_; filter += width) {
        const bool wide = padded_ - filter >= kernels_.panel;
        width = wide ? kernels_.panel : kernels_.narrow_panel;
        operands.grad_offset = int64_t{group} * padded_ + filter;
        for (int64_t step = 0, taken; step < steps(); step += taken) {
          const int n =
              std::min<int>(int(std::bit_width(uint64_t(steps() - step))) - 1, kernels_.step_sizes - 1);
          taken = int64_t{1} << n;
          operands.value_offset = int64_t{group} * layout_.channels + step;
          operands.sums = group_sums + step * padded_ + filter;
          (wide ? kernels_.add_pairs : kernels_.add_pairs_narrow)[n](operands);
        }
      }
    }
  }

  const TileKernels<Acc>& kernels_ = tile_kernels<Acc>();
  bool depthwise_;
  int32_t groups_, filters_, group_filters_;
  SegmentLayout layout_;
  RowReader<T> reader_;
  const T* grad_;
  MaskView scale_;
  std::vector<Segment> scale_segments_;
  SegmentMask<Acc> scaler_;
  int32_t padded_;
};

// How the reduction is divided: by rows, each chunk with sums of its own, and, where memory for those runs
// out, by segments. It depends on sizes alone, and chunks are added up in order: the result is reproducible.
struct Division {
  int64_t chunks, parts;

  Division(int64_t blocks, int64_t segments, int64_t sums_bytes, int threads) {
    constexpr int64_t kSumsBytes = int64_t{1} << 28;  // of all chunks
    const int64_t wanted = std::max(threads, 1);
    chunks = std::clamp<int64_t>(kSumsBytes / std::max<int64_t>(sums_bytes, 1), 1, std::min(wanted, blocks));
    parts = std::min(segments, (wanted + chunks - 1) / chunks);
  }
};

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
         const OutputGradient& grad, const T* x, T* grad_weight) {
  using Acc = typename Compute<T>::type;
  const bool depthwise = is_depthwise(problem);
  const int64_t filter_size = int64_t{problem.taps()} * problem.channels_per_group();
  const int64_t results = problem.filters * filter_size;
  constexpr int32_t kUnitStride[kAxes] = {1, 1, 1}, kNoPadding[kAxes] = {0, 0, 0};
  RowList rows;
  if (problem.rows() > 0 && results > 0) {
    const OwnedLiveMap row_live = live_outputs(runtime, problem, grad.window_channels, grad.valid);
    rows = list_rows(runtime, problem.batch, problem.output, row_live, kUnitStride, kNoPadding);
  }
  if (rows.empty()) {
    std::fill_n(grad_weight, results, T{});
    return;
  }
  const TapTable table = TapTable::to_input(problem);
  const OwnedLiveMap source_live = live_inputs(runtime, problem, dtype, mask);
  const Source<T> source = input_source(problem, table, mask, source_live, x);
  const WeightProduct<T> product(runtime, problem, table, source, grad, depthwise);
  const int64_t segments = product.layout().segments, total = int64_t(rows.size());
  constexpr int64_t kBlockRows = 128;  // whose gradients a first-level cache keeps, a panel of them
  const int64_t blocks = (total + kBlockRows - 1) / kBlockRows;
  const Division division(blocks, segments, product.size() * int64_t(sizeof(Acc)), runtime.threads);

  std::vector<Buffer<Acc>> sums(division.chunks);
  for (Buffer<Acc>& chunk : sums) chunk.get(product.size());
  runtime.parallel_for(0, division.chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) std::fill_n(sums[i].data(), product.size(), Acc(0));
  });
  runtime.parallel_for(0, division.chunks * division.parts, 1, [&](int64_t first, int64_t last) {
    typename WeightProduct<T>::Scratch scratch;
    for (int64_t i = first; i < last; ++i) {
      const int64_t chunk = i / division.parts, part = i % division.parts;
      const int32_t begin = int32_t(part * segments / division.parts);
      const int32_t end = int32_t((part + 1) * segments / division.parts);
      Acc* to = sums[chunk].data();
      // Every so many blocks, not a run of them: holes come in clusters, and chunks should take equally long.
      for (int64_t b = chunk; b < blocks; b += division.chunks)
        product.add(rows.data() + b * kBlockRows, std::min(kBlockRows, total - b * kBlockRows), begin, end,
                    scratch, to);
    }
  });
  const int64_t steps = depthwise ? 1 : product.layout().length();
  runtime.parallel_for(0, problem.filters, kElementGrain / filter_size + 1, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k)
      for (int64_t j = 0; j < filter_size; ++j) {
        const int64_t place = product.place(int32_t(k), j / steps, j % steps);
        Acc sum = 0;
        for (const Buffer<Acc>& chunk : sums) sum += chunk.data()[place];
        grad_weight[k * filter_size + j] = narrow<T>(sum);
      }
  });
}

}  // namespace

void grad_weight(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                 const OutputGradient& grad, const void* x, void* grad_weight) {
  dispatch(dtype, [&](auto element) {
    using T = decltype(element);
    run(runtime, problem, dtype, mask, grad, static_cast<const T*>(x), static_cast<T*>(grad_weight));
  });
}

}  // namespace maskconv::cpu
