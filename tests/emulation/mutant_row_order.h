// The row keys of a mutant, and the planners in its own text: those of both passes, as plan/row_order.cpp is
// of both.
#pragma once

#include <vector>

#include "emulation/row_order_launch.h"
#include "mutant_library.h"
#include "plan/cost.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"
#include "plan/grad_input_planner.cpp"
#include "plan/row_order.cpp"

namespace maskconv::emulation {

// The last two of the arrays named are keys and numbers.
template <class Pass, class Arguments>
int report_row_keys(const Arguments& arguments, const std::vector<const char*>& names, void* const* arrays,
                    const int64_t* bytes, uint64_t seed, int64_t* counted, char* message, int64_t size) {
  const size_t keys = names.size() - 2, numbers = names.size() - 1;
  const auto params = make_row_key_params(arguments, static_cast<uint32_t*>(arrays[keys]),
                                          static_cast<uint32_t*>(arrays[numbers]));
  const int failed = report(
      [&] {
        GlobalMemory memory;
        for (size_t i = 0; i < names.size(); ++i)
          if (arrays[i] != nullptr) memory.add(arrays[i], bytes[i], i >= keys, names[i]);
        return launch_row_keys<Pass>(params, LaunchOptions{seed, false}, memory);
      },
      counted, message, size);
  counted[0] = params.format.bits;
  return failed;
}

}  // namespace maskconv::emulation
