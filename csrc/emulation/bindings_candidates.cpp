// The planner's candidates: what _emulation offers the tests.

#include "emulation/bindings.h"
#include "emulation/problem.h"
#include "plan/choice.h"

namespace maskconv::emulation {
namespace {

namespace py = pybind11;

py::list to_list(const Candidates& candidates) {
  py::list result;
  for (const Candidate& candidate : candidates) {
    py::dict entry;
    entry["name"] = candidate.name;
    entry["why_not"] = candidate.why_not;
    entry["why_only_named"] = candidate.why_only_named;
    entry["arithmetic"] = candidate.cost.arithmetic;
    entry["l2"] = candidate.cost.l2;
    entry["memory"] = candidate.cost.memory;
    entry["overhead"] = candidate.cost.overhead;
    entry["microseconds"] = candidate.cost.microseconds();
    entry["bound"] = candidate.cost.bound();
    result.append(entry);
  }
  return result;
}

Pass pass_named(const std::string& name) {
  if (name == "forward") return Pass::kForward;
  return name == "grad_input" ? Pass::kGradInput : Pass::kGradWeight;
}

}  // namespace

void bind_candidates(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "candidates",
      [](const std::string& pass, const py::dict& problem, const std::string& dtype, bool aligned,
         const DeviceProperties& device, int32_t window_channels, bool weight_sums) {
        const ConvProblem p = to_problem(problem);
        const DType type = to_dtype(dtype);
        if (weight_sums) return to_list(forward_candidates(p, type, aligned, device, window_channels, true));
        return to_list(candidates_of(pass_named(pass), p, type, aligned, device, window_channels));
      },
      "pass"_a, "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "window_channels"_a = 1, "weight_sums"_a = false,
      "What could run a pass (forward, grad_input, grad_weight), with estimates in microseconds.");
  module.def(
      "chosen",
      [](const std::string& pass, const py::dict& problem, const std::string& dtype, bool aligned,
         const DeviceProperties& device, const std::string& wanted) {
        return choose(candidates_of(pass_named(pass), to_problem(problem), to_dtype(dtype), aligned, device),
                      wanted)
            .name;
      },
      "pass"_a, "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{}, "wanted"_a = "",
      "Name of the candidate that runs.");
  module.def(
      "choice_of",
      [](const std::string& pass, const py::dict& problem, const std::string& dtype, bool aligned,
         const DeviceProperties& device, int32_t window_channels, const std::string& wanted) {
        const ConvProblem p = to_problem(problem);
        const Candidate chosen =
            choice_of(pass_named(pass), p, to_dtype(dtype), aligned, device, window_channels, wanted);
        return py::object(to_list({chosen})[0]);
      },
      "pass"_a, "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "window_channels"_a = 1, "wanted"_a = "",
      "The candidate that a launch takes, from memory where it was asked before.");
  module.def("remembered_choices", &remembered_choices, "How many of them this thread remembers.");
}

}  // namespace maskconv::emulation
