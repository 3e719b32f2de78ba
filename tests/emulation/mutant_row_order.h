// The row keys of a mutant, and the planners in its own text: those of both passes, as plan/row_order.cpp is
// of both.
#pragma once

#include "emulation/row_order_launch.h"
#include "mutant_library.h"
#include "plan/cost.cpp"
#include "plan/forward_planner.cpp"
#include "plan/gemm_planner.cpp"
#include "plan/grad_input_planner.cpp"
#include "plan/row_order.cpp"

namespace maskconv::emulation {

// The last two of the arrays named are keys and numbers, which are written. Counted are the keys' bits.
template <class Pass, class Arguments>
int report_row_keys(const MutantCall& call, const Arguments& arguments,
                    std::initializer_list<const char*> names) {
  const int keys = static_cast<int>(names.size()) - 2;
  const auto params =
      make_row_key_params(arguments, call.array<uint32_t>(keys), call.array<uint32_t>(keys + 1));
  const int failed = report(call, [&] {
    GlobalMemory memory;
    call.add_arrays(memory, names, keys, keys + 1);
    return launch_row_keys<Pass>(params, call.options(), memory);
  });
  call.counted[0] = params.format.bits;
  return failed;
}

}  // namespace maskconv::emulation
