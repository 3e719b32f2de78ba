#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/product.h"
#include "cpu/store.h"
#include "cpu/weights.h"

namespace maskconv::cpu {
namespace {

constexpr int64_t kElementGrain = 1 << 14;

// Consecutive taps that one GEMM covers.
struct TapRange {
  int32_t first, end;
};

// Slices as wide as a GEMM needs to be fast, and not wider: the narrower, the fewer holes are multiplied.
std::vector<TapRange> slice_taps(int32_t taps, int32_t channels) {
  constexpr int64_t kColumns = 576;  // a 3x3 window of 64 channels
  const int64_t wanted = (int64_t{taps} * channels + kColumns - 1) / kColumns;
  const int32_t slices = int32_t(std::clamp<int64_t>(wanted, 1, taps));
  const int32_t width = (taps + slices - 1) / slices;
  std::vector<TapRange> ranges;
  for (int32_t t = 0; t < taps; t += width) ranges.push_back({t, std::min(t + width, taps)});
  return ranges;
}

template <typename T>
struct WeightProduct {
  using Acc = typename Compute<T>::type;

  struct Scratch {
    Buffer<int64_t> positions;
    Buffer<Acc> gathered, grad_block, grad_part;
    std::vector<int32_t> rows, taps;
    std::vector<const Acc*> values;
  };

  const Runtime& runtime;
  const TapTable& table;
  LiveMap live;
  Source<T> source;
  const T* grad;
  std::vector<Segment> grad_segments;
  SegmentMask<Acc> grad_scale;
  int32_t filters;
  bool depthwise;

  int64_t size() const { return int64_t{filters} * table.taps() * source.channels_per_group(); }

  // sums += grad^T * source, over `count` rows and for the taps of `slices`. Sums are (K, taps, C / g), or
  // (taps, C) depthwise.
  void add(const int64_t* rows, int64_t count, const TapRange* slices, int64_t slice_count, Scratch& scratch,
           Acc* sums) const {
    int64_t* positions = scratch.positions.get(count * table.taps());
    table.lookup(rows, count, live, positions);
    const Acc* grad_block = grad_rows(rows, nullptr, count, scratch.grad_block);
    for (int64_t s = 0; s < slice_count; ++s) {
      if (depthwise) {
        add_channels(positions, count, slices[s], grad_block, scratch, sums);
      } else {
        add_slice(rows, positions, count, slices[s], grad_block, scratch, sums);
      }
    }
  }

 private:
  // The gradient of the accumulator in the rows (those given by index, if any), in place where it lies so.
  const Acc* grad_rows(const int64_t* rows, const int32_t* index, int64_t count, Buffer<Acc>& buffer) const {
    if constexpr (std::is_same_v<T, Acc>) {
      if (grad_scale.trivial() && !index && rows[count - 1] - rows[0] == count - 1)
        return grad + rows[0] * filters;
    }
    Acc* to = buffer.get(count * filters);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = rows[index ? index[i] : i];
      Acc* values = to + i * filters;
      widen(grad + row * filters, values, filters);
      if (grad_scale.trivial()) continue;
      for (const Segment& segment : grad_segments) grad_scale.apply(values + segment.channel, segment, row);
    }
    return to;
  }

  void add_slice(const int64_t* rows, const int64_t* positions, int64_t count, TapRange slice,
                 const Acc* grad_block, Scratch& scratch, Acc* sums) const {
    constexpr double kWorthCompacting = 0.8;  // rows left, for copying their grad to pay
    const int32_t taps = table.taps();
    std::vector<int32_t>& selected = scratch.rows;
    selected.clear();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t* row = positions + i * taps;
      if (std::any_of(row + slice.first, row + slice.end, [](int64_t p) { return p >= 0; }))
        selected.push_back(int32_t(i));
    }
    if (selected.empty()) return;
    const int32_t* index = nullptr;
    if (double(selected.size()) < kWorthCompacting * double(count)) {
      index = selected.data();
      count = int64_t(selected.size());
      grad_block = grad_rows(rows, index, count, scratch.grad_part);
    }
    scratch.taps.clear();
    for (int32_t t = slice.first; t < slice.end; ++t) scratch.taps.push_back(t);
    const int64_t width = slice.end - slice.first;
    Acc* gathered = scratch.gathered.get(count * width * source.channels);
    source.gather(positions, taps, index, count, scratch.taps.data(), width, gathered);
    const int64_t per_group = source.channels_per_group(), group_filters = filters / source.groups;
    const int64_t filter_size = taps * per_group, columns = width * per_group;
    for (int32_t g = 0; g < source.groups; ++g)
      gemm_of<Acc>(runtime)(group_filters, columns, count, grad_block + g * group_filters, filters, true,
                            gathered + g * count * columns, columns, false, Acc(1),
                            sums + g * group_filters * filter_size + slice.first * per_group, filter_size);
  }

  void add_channels(const int64_t* positions, int64_t count, TapRange slice, const Acc* grad_block,
                    Scratch& scratch, Acc* sums) const {
    const int32_t taps = table.taps(), channels = source.channels;
    for (int64_t i = 0; i < count; ++i, positions += taps, grad_block += channels) {
      scratch.taps.clear();
      for (int32_t t = slice.first; t < slice.end; ++t)
        if (positions[t] >= 0) scratch.taps.push_back(t);
      if (scratch.taps.empty()) continue;
      const Acc* const* values =
          channel_rows(source, positions, taps, scratch.taps, scratch.gathered, scratch.values);
      for (size_t j = 0; j < scratch.taps.size(); ++j)
        multiply_add(sums + scratch.taps[j] * int64_t{channels}, values[j], grad_block, channels);
    }
  }
};

// How the reduction is divided: by rows, each chunk with sums of its own, and, where memory for those runs
// out, by taps. It depends on sizes alone, and chunks are added up in order: the result is reproducible.
struct Division {
  int64_t chunks, tap_parts;

  Division(int64_t blocks, int64_t slices, int64_t sums_bytes, int threads) {
    constexpr int64_t kSumsBytes = int64_t{1} << 28;  // of all chunks
    const int64_t wanted = std::max(threads, 1);
    chunks = std::clamp<int64_t>(kSumsBytes / std::max<int64_t>(sums_bytes, 1), 1, std::min(wanted, blocks));
    tap_parts = std::min(slices, (wanted + chunks - 1) / chunks);
  }
};

template <typename T>
void run(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
         const OutputGradient& grad, const T* x, T* grad_weight) {
  using Acc = typename Compute<T>::type;
  using Product = WeightProduct<T>;
  const bool depthwise = is_depthwise(problem);
  const int32_t groups = depthwise ? 1 : problem.groups;
  const int64_t taps = problem.taps(), size = problem.filters * taps * problem.channels_per_group();
  constexpr int32_t kUnitStride[kAxes] = {1, 1, 1}, kNoPadding[kAxes] = {0, 0, 0};
  RowList rows;
  if (problem.rows() > 0 && size > 0) {
    const OwnedLiveMap row_live = live_outputs(runtime, problem, grad.window_channels, grad.valid);
    rows = list_rows(runtime, problem.batch, problem.output, row_live, kUnitStride, kNoPadding);
  }
  if (rows.empty()) {
    std::fill_n(grad_weight, size, T{});
    return;
  }
  const TapTable table = TapTable::to_input(problem);
  const MaskView scale = mask_of_gradient(grad, problem.filters);
  const OwnedLiveMap source_live = live_inputs(runtime, problem, dtype, mask);
  const Product product{runtime,
                        table,
                        source_live,
                        {x, problem.channels, groups, cut_segments(mask, problem.channels, groups),
                         SegmentMask<Acc>(mask, problem.mask_batch, problem.input_positions())},
                        static_cast<const T*>(grad.grad),
                        cut_segments(scale, problem.filters, 1),
                        SegmentMask<Acc>(scale, problem.window_batch(), problem.output_positions()),
                        problem.filters,
                        depthwise};
  const std::vector<TapRange> slices = slice_taps(table.taps(), problem.channels);
  const int64_t slice_count = int64_t(slices.size()), total = int64_t(rows.size());
  const int64_t columns = int64_t{slices[0].end - slices[0].first} * problem.channels;
  const int64_t block =
      choose_block_rows(total, (columns + problem.filters) * int64_t(sizeof(Acc)), runtime.threads);
  const int64_t blocks = (total + block - 1) / block;
  const Division division(blocks, slice_count, size * int64_t(sizeof(Acc)), runtime.threads);

  std::vector<Buffer<Acc>> sums(division.chunks);
  for (Buffer<Acc>& chunk : sums) chunk.get(size);
  runtime.parallel_for(0, division.chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) std::fill_n(sums[i].get(size), size, Acc(0));
  });
  runtime.parallel_for(0, division.chunks * division.tap_parts, 1, [&](int64_t first, int64_t last) {
    typename Product::Scratch scratch;
    for (int64_t i = first; i < last; ++i) {
      const int64_t chunk = i / division.tap_parts, part = i % division.tap_parts;
      const int64_t begin = part * slice_count / division.tap_parts;
      const int64_t end = (part + 1) * slice_count / division.tap_parts;
      // Every so many blocks, not a run of them: holes come in clusters, and chunks should take equally long.
      for (int64_t b = chunk; b < blocks; b += division.chunks)
        product.add(rows.data() + b * block, std::min(block, total - b * block), &slices[begin], end - begin,
                    scratch, sums[chunk].get(size));
    }
  });
  runtime.parallel_for(0, size, kElementGrain, [&](int64_t first, int64_t last) {
    Acc* total_sums = sums[0].get(size);
    for (int64_t chunk = 1; chunk < division.chunks; ++chunk)
      accumulate(total_sums + first, sums[chunk].get(size) + first, last - first);
    if (!depthwise) return narrow(total_sums + first, grad_weight + first, last - first);
    for (int64_t i = first; i < last; ++i)
      grad_weight[i % problem.channels * taps + i / problem.channels] = narrow<T>(total_sums[i]);
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
