// The kernels for masks of any kind behind three C functions: hard masks with bf16, soft ones with float32.

#include "emulation/masks_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

// What every call is given.
struct Call {
  ConvProblem problem;
  bool soft = false;
  std::vector<int32_t> parts;
  DType dtype() const { return soft ? DType::kFloat32 : DType::kBFloat16; }
};

// `integers`: those of the problem; whether the mask is soft; its parts, counted first.
Call read_call(const int64_t* integers, double threshold, double fill) {
  Call call;
  call.problem = read_problem(integers);
  call.problem.threshold = threshold;
  call.problem.fill = fill;
  integers += kProblemIntegers;
  call.soft = integers[0] != 0;
  for (int64_t i = 0; i < integers[1]; ++i) call.parts.push_back(static_cast<int32_t>(integers[2 + i]));
  return call;
}

void add(GlobalMemory& memory, void* const* arrays, const int64_t* bytes, int first_written, int count) {
  for (int i = 0; i < count; ++i)
    if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= first_written, std::to_string(i));
}

}  // namespace

// `arrays`: mask, channel_sums, window_sum, valid, fraction, all but the first written.
extern "C" int run_window(const int64_t* integers, double threshold, double fill, void* const* arrays,
                          const int64_t* bytes, int64_t* counted, char* message, int64_t size) {
  const Call call = read_call(integers, threshold, fill);
  WindowArguments arguments;
  arguments.problem = call.problem;
  arguments.mask = make_channel_mask(arrays[0], call.soft, call.parts);
  arguments.channel_sums = arrays[1];
  arguments.sum = arrays[2];
  arguments.valid = static_cast<uint8_t*>(arrays[3]);
  arguments.fraction = arrays[4];
  return report(
      [&] {
        GlobalMemory memory;
        add(memory, arrays, bytes, 1, 5);
        const WindowParams params = make_window_params(arguments);
        return call.soft ? launch_window<float, float>(params, LaunchOptions{}, memory)
                         : launch_window<int32_t, uint8_t>(params, LaunchOptions{}, memory);
      },
      counted, message, size);
}

// `arrays`: mask, x, selected, the last written.
extern "C" int run_select(const int64_t* integers, double, double channels_last, void* const* arrays,
                          const int64_t* bytes, int64_t* counted, char* message, int64_t size) {
  const Call call = read_call(integers, 0.0, 0.0);
  SelectArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = call.dtype();
  arguments.mask = make_channel_mask(arrays[0], call.soft, call.parts);
  arguments.x = arrays[1];
  arguments.channels_last = channels_last != 0;
  arguments.selected = arrays[2];
  return report(
      [&] {
        GlobalMemory memory;
        add(memory, arrays, bytes, 2, 3);
        const SelectParams params = make_select_params(arguments);
        return call.soft ? launch_select<float, float>(params, LaunchOptions{}, memory)
                         : launch_select<bf16, uint8_t>(params, LaunchOptions{}, memory);
      },
      counted, message, size);
}

// `arrays`: window_sum, valid, bias, weight_sum, y, the last written. In place of the parts: channels and
// size of windows.
extern "C" int run_finish(const int64_t* integers, double threshold, double fill, void* const* arrays,
                          const int64_t* bytes, int64_t* counted, char* message, int64_t size) {
  const Call call = read_call(integers, threshold, fill);
  FinishArguments arguments;
  arguments.problem = call.problem;
  arguments.dtype = call.dtype();
  arguments.windows = {arrays[0], static_cast<const uint8_t*>(arrays[1]), call.parts[0], call.parts[1],
                       call.soft};
  arguments.bias = arrays[2];
  arguments.weight_sum = arrays[3];
  arguments.y = arrays[4];
  return report(
      [&] {
        GlobalMemory memory;
        add(memory, arrays, bytes, 4, 5);
        const FinishParams params = make_finish_params(arguments);
        return call.soft ? launch_finish<float>(params, LaunchOptions{}, memory)
                         : launch_finish<bf16>(params, LaunchOptions{}, memory);
      },
      counted, message, size);
}
