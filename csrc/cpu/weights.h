// The weight (K, taps, C / groups) as panels of a product.
#pragma once

#include <cstdint>

#include "cpu/half.h"
#include "cpu/panels.h"

namespace maskconv::cpu {

inline bool is_depthwise(const ConvProblem& problem) {
  return problem.channels_per_group() == 1 && problem.filters_per_group() == 1;
}

// Which tap of the kernel is tap `at` of a segment.
inline int32_t kernel_tap(const SegmentLayout& layout, int32_t segment, int32_t at) {
  return segment * layout.taps + (layout.descending ? layout.taps - 1 - at : at);
}

// Steps are taps, results channels.
template <typename T, typename Acc = typename Compute<T>::type>
Panels<Acc> depthwise_panels(const Runtime& runtime, const ConvProblem& problem, const SegmentLayout& layout,
                             const T* weight) {
  const int64_t taps = problem.taps();
  return Panels<Acc>(runtime, layout.segments, layout.taps, 1, problem.channels, true, taps,
                     [=](int32_t, int32_t segment, int64_t step, int32_t c) {
                       return weight + c * taps + kernel_tap(layout, segment, int32_t(step));
                     });
}

// Steps are channels, from `first_channel` of a group on, and results filters.
template <typename T, typename Acc = typename Compute<T>::type>
Panels<Acc> forward_panels(const Runtime& runtime, const ConvProblem& problem, const SegmentLayout& layout,
                           const T* weight, int32_t first_channel = 0) {
  if (is_depthwise(problem)) return depthwise_panels(runtime, problem, layout, weight);
  const int64_t filter_size = int64_t{problem.taps()} * problem.channels_per_group();
  const int64_t segment_size = int64_t{layout.taps} * problem.channels_per_group();
  const int64_t group_size = problem.filters_per_group() * filter_size;
  weight += first_channel;
  return Panels<Acc>(runtime, layout.segments, layout.length(), problem.groups, problem.filters_per_group(),
                     false, filter_size, [=](int32_t group, int32_t segment, int64_t step, int32_t k) {
                       return weight + group * group_size + k * filter_size + segment * segment_size + step;
                     });
}

// Steps are filters, results channels.
template <typename T, typename Acc = typename Compute<T>::type>
Panels<Acc> backward_panels(const Runtime& runtime, const ConvProblem& problem, const SegmentLayout& layout,
                            const T* weight) {
  if (is_depthwise(problem)) return depthwise_panels(runtime, problem, layout, weight);
  const int64_t per_group = problem.channels_per_group(), filters = problem.filters_per_group();
  const int64_t filter_size = problem.taps() * per_group;
  return Panels<Acc>(runtime, layout.segments, layout.length(), problem.groups, problem.channels_per_group(),
                     false, 1, [=](int32_t group, int32_t segment, int64_t step, int32_t c) {
                       const int64_t k = step % filters;
                       const int64_t tap = kernel_tap(layout, segment, int32_t(step / filters));
                       return weight + (group * filters + k) * filter_size + tap * per_group + c;
                     });
}

}  // namespace maskconv::cpu
