// The kernels for masks of any kind behind three C functions: hard masks with bf16, soft ones with float32.

#include "emulation/masks_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

namespace {

// What follows the problem's integers: whether the mask is soft, and its parts, counted first.
bool is_soft(const MutantCall& call) { return call.more()[0] != 0; }
std::vector<int32_t> parts_of(const MutantCall& call) {
  const int64_t* parts = call.more() + 2;
  return {parts, parts + call.more()[1]};
}

}  // namespace

// The arrays: mask, channel_sums, window_sum, valid, fraction, all but the first written.
extern "C" int run_window(const MutantCall& call) {
  WindowArguments arguments;
  arguments.problem = call.problem();
  arguments.mask = make_channel_mask(call.arrays[0], is_soft(call), parts_of(call));
  arguments.channel_sums = call.arrays[1];
  arguments.sum = call.arrays[2];
  arguments.valid = call.array<uint8_t>(3);
  arguments.fraction = call.arrays[4];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"mask", "channel_sums", "window_sum", "valid", "fraction"}, 1, 4);
    const WindowParams params = make_window_params(arguments);
    return is_soft(call) ? launch_window<float, float>(params, call.options(), memory)
                         : launch_window<int32_t, uint8_t>(params, call.options(), memory);
  });
}

// The arrays: mask, x, selected, the last written. After the parts: whether x is channels_last.
extern "C" int run_select(const MutantCall& call) {
  const std::vector<int32_t> parts = parts_of(call);
  SelectArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.mask = make_channel_mask(call.arrays[0], is_soft(call), parts);
  arguments.x = call.arrays[1];
  arguments.channels_last = call.more()[2 + parts.size()] != 0;
  arguments.selected = call.arrays[2];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"mask", "x", "selected"}, 2, 2);
    const SelectParams params = make_select_params(arguments);
    return is_soft(call) ? launch_select<float, float>(params, call.options(), memory)
                         : launch_select<bf16, uint8_t>(params, call.options(), memory);
  });
}

// The arrays: window_sum, valid, bias, weight_sum, y, the last written. In place of the parts: channels and
// size of windows.
extern "C" int run_finish(const MutantCall& call) {
  const std::vector<int32_t> window = parts_of(call);
  FinishArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.windows = {call.arrays[0], call.array<const uint8_t>(1), window[0], window[1], is_soft(call)};
  arguments.bias = call.arrays[2];
  arguments.weight_sum = call.arrays[3];
  arguments.y = call.arrays[4];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"window_sum", "valid", "bias", "weight_sum", "y"}, 4, 4);
    const FinishParams params = make_finish_params(arguments);
    return is_soft(call) ? launch_finish<float>(params, call.options(), memory)
                         : launch_finish<bf16>(params, call.options(), memory);
  });
}
