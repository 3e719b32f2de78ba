// ptx_probe(name, input, seed=0, preempt=False): kernels/ptx_probe.cuh, emulated.
#include "emulation/bindings.h"
#include "kernels/ptx_probe.cuh"

namespace py = pybind11;

namespace maskconv::emulation {
namespace {

py::tuple ptx_probe(const std::string& name, const py::array& input, uint64_t seed, bool preempt) {
  py::array_t<uint32_t> output;
  Counters counters;
  GlobalMemory memory;
  const auto* const words = readable<uint32_t>(memory, input, "input");
  const bool known = probe::visit(name.c_str(), [&]<class Probe>() {
    if (Probe::kInputWords >= 0 && input.size() != Probe::kInputWords) {
      throw std::invalid_argument(name + " takes " + std::to_string(Probe::kInputWords) + " words, got " +
                                  std::to_string(input.size()));
    }
    output = py::array_t<uint32_t>(Probe::output_words(input.size()));
    const probe::Params params{words, writable<uint32_t>(memory, output, "output"), input.size()};
    counters = launch({1, 1, 1}, {Probe::kThreads, 1, 1}, Probe::kSmemBytes, {seed, preempt}, memory,
                      &probe::kernel<Probe>, params);
  });
  if (!known) throw std::invalid_argument("no such probe: " + name);
  return py::make_tuple(output, to_dict(counters));
}

}  // namespace

void bind_ptx_probe(py::module_& module) {
  module.def(
      "ptx_probe", &ptx_probe, py::arg("name"), py::arg("input"), py::kw_only(), py::arg("seed") = 0,
      py::arg("preempt") = false,
      "Runs the named probe of a PTX wrapper on words of four bytes; returns its output and the counters.");
}

}  // namespace maskconv::emulation
