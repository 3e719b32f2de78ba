// maskconv_ext._emulation: the CUDA kernels, run on the host over NumPy arrays.
#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include "emulation/bindings.h"

namespace py = pybind11;

namespace maskconv::emulation {

py::dict to_dict(const Counters& counters) {
  py::dict dict;
  for (size_t i = 0; i < kCounts; ++i) dict[kCountNames[i]] = counters.values[i];
  for (const auto& [name, value] : counters.named) dict[name.c_str()] = value;
  return dict;
}

namespace {

py::tuple to_tuple(const Dim3& index) { return py::make_tuple(index.x, index.y, index.z); }

// As a Python exception, with what the message says also as attributes.
void raise(const Error& error, const py::object& type) {
  py::object exception = type(error.what());
  exception.attr("kind") = error.kind;
  exception.attr("message") = error.what();
  exception.attr("thread") = to_tuple(error.thread_index);
  exception.attr("block") = to_tuple(error.block_index);
  py::list sites;
  for (const Site& site : error.sites) sites.append(py::make_tuple(site.file, site.line));
  exception.attr("sites") = sites;
  PyErr_SetObject(type.ptr(), exception.ptr());
}

}  // namespace

PYBIND11_MODULE(_emulation, module) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> error_type;
  error_type.call_once_and_store_result(
      [&] { return py::exception<Error>(module, "EmulationError", PyExc_RuntimeError); });
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      raise(error, error_type.get_stored());
    }
  });
  bind_ptx_probe(module);
  bind_faulty_kernels(module);
  bind_forward(module);
  bind_grad_input(module);
  bind_depthwise(module);
  bind_few_channels(module);
  bind_grad_bias(module);
  bind_channel_dot(module);
  bind_grad_weight(module);
  bind_candidates(module);
  bind_row_order(module);
  bind_masks(module);
}

}  // namespace maskconv::emulation
