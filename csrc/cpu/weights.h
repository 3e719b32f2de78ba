// The weight (K, taps, C / groups) as the operand of a product.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/product.h"
#include "cpu/store.h"

namespace maskconv::cpu {

inline bool is_depthwise(const ConvProblem& problem) {
  return problem.channels_per_group() == 1 && problem.filters_per_group() == 1;
}

template <typename T, typename Acc = typename Compute<T>::type>
Operand<Acc> depthwise_operand(const ConvProblem& problem, const T* weight, std::vector<Acc>& storage) {
  const int64_t taps = problem.taps(), channels = problem.channels;
  storage.resize(taps * channels);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t < taps; ++t) storage[t * channels + c] = widen(weight[c * taps + t]);
  return {storage.data(), 0, channels, 0, false};
}

// Per group (taps * C / g, K / g): as it is stored, transposed.
template <typename T, typename Acc = typename Compute<T>::type>
Operand<Acc> forward_operand(const ConvProblem& problem, const T* weight, std::vector<Acc>& storage) {
  if (is_depthwise(problem)) return depthwise_operand(problem, weight, storage);
  const int64_t per_group = problem.channels_per_group();
  const int64_t filter_size = problem.taps() * per_group;
  return {as_compute(weight, problem.filters * filter_size, storage),
          problem.filters_per_group() * filter_size, per_group, filter_size, true};
}

// Per group (taps * K / g, C / g).
template <typename T, typename Acc = typename Compute<T>::type>
Operand<Acc> backward_operand(const Runtime& runtime, const ConvProblem& problem, const T* weight,
                              std::vector<Acc>& storage) {
  if (is_depthwise(problem)) return depthwise_operand(problem, weight, storage);
  constexpr int64_t kGrain = 1 << 14;
  const int64_t per_group = problem.channels_per_group(), filters = problem.filters_per_group();
  const int64_t taps = problem.taps(), filter_size = taps * per_group;
  storage.resize(problem.filters * filter_size);
  runtime.parallel_for(0, problem.filters, kGrain / filter_size + 1, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; ++k)
      for (int64_t t = 0; t < taps; ++t)
        widen(weight + k * filter_size + t * per_group,
              &storage[((k / filters * taps + t) * filters + k % filters) * per_group], per_group);
  });
  return {storage.data(), filters * filter_size, filters * per_group, per_group, false};
}

}  // namespace maskconv::cpu
