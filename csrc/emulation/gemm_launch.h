// Launching the emulated implicit GEMM of a pass.
#pragma once

#include <stdexcept>

#include "emulation/launch.h"
#include "kernels/gemm_mma.cuh"
#include "kernels/gemm_simt.cuh"
#include "plan/gemm_planner.h"

namespace maskconv::emulation {

template <class Pass, GemmConfig kConfig, class Element>
Counters launch_instance(const typename Pass::Params& params, const LaunchOptions& options,
                         GlobalMemory& memory) {
  constexpr int32_t kIndex = config_index(kConfig);
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(kConfig.threads()), 1, 1};
  const size_t shared = gemm_layout(kConfig, kDType<Element>, params.problem.taps()).total;
  using Seen = ElementOf<kConfig.kernel, Element>;
  if constexpr (kConfig.on_tensor_cores()) {
    return launch(grid, block, shared, options, memory, &gemm_mma<Pass, kIndex, Seen>, params);
  } else {
    return launch(grid, block, shared, options, memory, &gemm_simt<Pass, kIndex, Seen>, params);
  }
}

// The one of kConfigs that equals `config`. As on the device, an empty grid is no launch.
template <class Pass, class Element, GemmConfig... kConfigs>
Counters launch_matching(const GemmConfig& config, const typename Pass::Params& params,
                         const LaunchOptions& options, GlobalMemory& memory) {
  Counters counters;
  if (params.blocks() == 0) return counters;
  const bool found =
      ((config == kConfigs &&
        (counters = launch_instance<Pass, kConfigs, Element>(params, options, memory), true)) ||
       ...);
  if (!found) throw std::invalid_argument(name(config) + " is not compiled for this element type");
  return counters;
}

template <class Pass, class Element>
Counters launch_gemm(const GemmConfig& config, const typename Pass::Params& params,
                     const LaunchOptions& options, GlobalMemory& memory) {
  if constexpr (kDType<Element> == DType::kFloat64) {
    return launch_matching<Pass, Element, kSimt64x32>(config, params, options, memory);
  } else if constexpr (kDType<Element> == DType::kFloat32) {
    return launch_matching<Pass, Element, kTf32_256x128, kTf32_256x64, kTf32_128x128, kTf32_128x64,
                           kTf32_64x64, kSimt64x64>(config, params, options, memory);
  } else {
    return launch_matching<Pass, Element, kMma256x128, kMma256x64, kMma128x128, kMma128x64, kMma64x64,
                           kSimt64x64>(config, params, options, memory);
  }
}

// The config of that name, or without one the planner's choice; throws if it cannot run the problem.
inline GemmConfig config_for(const std::string& wanted, const ConvProblem& problem, const GemmShape& shape,
                             DType dtype, bool aligned) {
  const DeviceProperties device;
  const GemmConfig config =
      wanted.empty() ? choose_config(problem, shape, dtype, aligned, device) : gemm_config_named(wanted);
  const std::string why_not = why_not_config(config, problem, shape, dtype, aligned, device);
  if (!why_not.empty()) throw std::invalid_argument(why_not);
  return config;
}

}  // namespace maskconv::emulation
