// The kernel of products summed over channels behind one C function, for bf16 and float32.

#include "emulation/channel_dot_launch.h"
#include "mutant_library.h"

using namespace maskconv;
using namespace maskconv::emulation;

// What follows the problem's integers: 0, for a hard mask, and its parts, counted first. The arrays: mask, a,
// b, dots, the last written.
extern "C" int run_channel_dot(const MutantCall& call) {
  const int64_t* parts = call.more() + 2;
  ChannelDotArguments arguments;
  arguments.problem = call.problem();
  arguments.dtype = call.dtype();
  arguments.mask = make_channel_mask(call.arrays[0], false, {parts, parts + call.more()[1]});
  arguments.a = call.arrays[1];
  arguments.b = call.arrays[2];
  arguments.dots = call.arrays[3];
  return report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, {"mask", "a", "b", "dots"}, 3, 3);
    const ChannelDotParams params = make_channel_dot_params(arguments);
    return arguments.dtype == DType::kBFloat16 ? launch_channel_dot<bf16>(params, call.options(), memory)
                                               : launch_channel_dot<float>(params, call.options(), memory);
  });
}
