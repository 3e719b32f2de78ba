// Two forward kernels behind one C function: what a mutant is made of, small enough to compile in seconds.

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "emulation/launch.h"
#include "kernels/forward_mma.cuh"
#include "kernels/forward_simt.cuh"
#include "plan/forward_planner.cpp"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

constexpr int32_t kMma = config_index(kMma64x64);
constexpr int32_t kSimt = config_index(kSimt64x64);

Counters run(const ForwardArguments& arguments, const LaunchOptions& options, GlobalMemory& memory) {
  const bool mma = arguments.dtype == DType::kBFloat16;
  const ForwardConfig& config = kForwardConfigs[mma ? kMma : kSimt];
  const ForwardParams params = make_forward_params(arguments, config);
  const Dim3 grid{static_cast<unsigned>(params.blocks()), 1, 1};
  const Dim3 block{static_cast<unsigned>(config.threads()), 1, 1};
  const size_t shared = forward_layout(config, arguments.dtype, params.problem.taps()).total;
  return launch(grid, block, shared, options, memory,
                mma ? &forward_mma<kMma, bf16> : &forward_simt<kSimt, float>, params);
}

}  // namespace

// `integers`: the fields of ConvProblem in order, without the two doubles; `arrays` and `bytes`: input, mask,
// weight, bias, output, out_mask, window_sum, the last three written. Returns 0, or 1 with the error in
// `message`.
extern "C" int run_forward(const int64_t* integers, double threshold, double fill, void* const* arrays,
                           const int64_t* bytes, uint64_t seed, int64_t* counted, char* message,
                           int64_t size) {
  const auto next = [&integers] { return static_cast<int32_t>(*integers++); };
  ForwardArguments arguments;
  arguments.dtype = next() == 2 ? DType::kBFloat16 : DType::kFloat32;
  ConvProblem& problem = arguments.problem;
  problem.batch = next();
  problem.channels = next();
  problem.filters = next();
  problem.groups = next();
  for (auto* axes :
       {problem.input, problem.output, problem.kernel, problem.stride, problem.padding, problem.dilation})
    for (int axis = 0; axis < kAxes; ++axis) axes[axis] = next();
  problem.mask_batch = next();
  problem.pad_is_valid = next() != 0;
  problem.normalization = static_cast<Normalization>(next());
  problem.mask_update = static_cast<MaskUpdate>(next());
  problem.fill_with_bias = next() != 0;
  problem.threshold = threshold;
  problem.fill = fill;

  GlobalMemory memory;
  constexpr const char* kNames[] = {"input", "mask", "weight", "bias", "output", "out_mask", "window_sum"};
  constexpr int kFirstWritten = 4;
  for (int i = 0; i < 7; ++i)
    if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= kFirstWritten, kNames[i]);
  arguments.input = arrays[0];
  arguments.mask = static_cast<const uint8_t*>(arrays[1]);
  arguments.weight = arrays[2];
  arguments.bias = arrays[3];
  arguments.output = arrays[4];
  arguments.out_mask = arrays[5];
  arguments.window_sum = static_cast<int32_t*>(arrays[6]);

  std::string failure;
  try {
    Counters counters = run(arguments, LaunchOptions{seed, false}, memory);
    counted[0] = counters[Count::kMma];
    counted[1] = counters[Count::kLdmatrixBankConflicts] + counters[Count::kCpAsyncBankConflicts] +
                 counters[Count::kSharedLoadBankConflicts] + counters[Count::kSharedStoreBankConflicts];
    return 0;
  } catch (const Error& error) {
    failure = error.kind + std::string(": ") + error.what();
  } catch (const std::exception& error) {
    failure = std::string("exception: ") + error.what();
  }
  std::strncpy(message, failure.c_str(), size - 1);
  return 1;
}
