#include <cuda_runtime_api.h>

#include <stdexcept>

#include "kernels/window.cuh"
#include "launch/device.h"
#include "launch/window.h"
#include "plan/gemm_planner.h"

namespace maskconv {
namespace {

// Value: of the mask.
template <class Sum, class Value>
void launch(const WindowParams& params, cudaStream_t stream) {
  const auto blocks = [](int64_t threads) { return static_cast<unsigned>(window_blocks(threads)); };
  if (params.windows() == 0) return;
  if (params.mask.shared()) {
    sum_windows<Sum, Value><<<blocks(params.windows()), kWindowThreads, 0, stream>>>(params);
    return;
  }
  const int64_t threads = params.channel_sum_count() * params.threads_per_sum;
  sum_channels<Sum, Value><<<blocks(threads), kWindowThreads, 0, stream>>>(params);
  sum_windows<Sum, Sum><<<blocks(params.windows()), kWindowThreads, 0, stream>>>(params);
}

}  // namespace

void launch_window(const WindowArguments& arguments, void* cuda_stream) {
  const std::string why_not = why_not_reach(arguments.problem);
  if (!why_not.empty()) throw std::invalid_argument("the CUDA kernel cannot count the windows: " + why_not);
  const WindowParams params = make_window_params(arguments);
  const auto stream = static_cast<cudaStream_t>(cuda_stream);
  if (!params.mask.soft) {
    launch<int32_t, uint8_t>(params, stream);
  } else if (params.wide) {
    launch<double, double>(params, stream);
  } else {
    launch<float, float>(params, stream);
  }
  check_cuda(cudaGetLastError(), "launching the count of the windows");
}

}  // namespace maskconv
