// The planner's candidates: what _emulation offers the tests.

#include "emulation/bindings.h"
#include "emulation/problem.h"
#include "plan/candidates.h"

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

Candidates candidates_of(const std::string& pass, const py::dict& problem, const std::string& dtype,
                         bool aligned, const DeviceProperties& device, bool weight_sums) {
  const ConvProblem p = to_problem(problem);
  if (pass == "forward") return forward_candidates(p, to_dtype(dtype), aligned, device, 1, weight_sums);
  if (pass == "grad_input") return grad_input_candidates(p, to_dtype(dtype), aligned, device);
  return grad_weight_candidates(p, to_dtype(dtype), aligned, device);
}

}  // namespace

void bind_candidates(py::module_& module) {
  using namespace pybind11::literals;
  module.def(
      "candidates",
      [](const std::string& pass, const py::dict& problem, const std::string& dtype, bool aligned,
         const DeviceProperties& device, bool weight_sums) {
        return to_list(candidates_of(pass, problem, dtype, aligned, device, weight_sums));
      },
      "pass"_a, "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{},
      "weight_sums"_a = false,
      "What could run a pass (forward, grad_input, grad_weight), with estimates in microseconds.");
  module.def(
      "chosen",
      [](const std::string& pass, const py::dict& problem, const std::string& dtype, bool aligned,
         const DeviceProperties& device, const std::string& wanted) {
        return choose(candidates_of(pass, problem, dtype, aligned, device, false), wanted).name;
      },
      "pass"_a, "problem"_a, "dtype"_a, "aligned"_a = true, "device"_a = DeviceProperties{}, "wanted"_a = "",
      "Name of the candidate that runs.");
}

}  // namespace maskconv::emulation
