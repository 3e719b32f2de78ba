// What a binding of a kernel to NumPy arrays is made of: register the arrays, launch, return the counters.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "emulation/launch.h"

namespace maskconv::emulation {

// Each kernel's bindings, in a file of its own; module.cpp calls them.
void bind_forward(pybind11::module_& module);
void bind_grad_input(pybind11::module_& module);   // after bind_forward, which binds DeviceProperties
void bind_grad_weight(pybind11::module_& module);  // likewise
void bind_candidates(pybind11::module_& module);   // likewise
void bind_row_order(pybind11::module_& module);    // likewise
void bind_depthwise(pybind11::module_& module);
void bind_few_channels(pybind11::module_& module);
void bind_grad_bias(pybind11::module_& module);
void bind_channel_dot(pybind11::module_& module);
void bind_masks(pybind11::module_& module);
void bind_ptx_probe(pybind11::module_& module);
void bind_faulty_kernels(pybind11::module_& module);

pybind11::dict to_dict(const Counters& counters);

namespace detail {

template <class T>
void* registered(GlobalMemory& memory, const pybind11::object& object, const char* name, bool writable) {
  if (object.is_none()) return nullptr;
  if (!pybind11::isinstance<pybind11::array>(object)) {
    throw std::invalid_argument(std::string(name) + " must be a NumPy array or None");
  }
  auto array = pybind11::reinterpret_borrow<pybind11::array>(object);
  if (array.itemsize() != static_cast<pybind11::ssize_t>(sizeof(T))) {
    throw std::invalid_argument(std::string(name) + " must have elements of " + std::to_string(sizeof(T)) +
                                " bytes, got " + std::to_string(array.itemsize()));
  }
  if ((array.flags() & pybind11::array::c_style) == 0) {
    throw std::invalid_argument(std::string(name) + " must be contiguous");
  }
  void* const data = writable ? array.mutable_data() : const_cast<void*>(array.data());
  memory.add(data, static_cast<size_t>(array.nbytes()), writable, name);
  return data;
}

}  // namespace detail

// The array's elements, registered under its name as the kernel's input or output; None is the null pointer.
// Only the size of an element is checked: NumPy has no bfloat16, uint16 stands for it.
template <class T>
const T* readable(GlobalMemory& memory, const pybind11::object& array, const char* name) {
  return static_cast<const T*>(detail::registered<T>(memory, array, name, false));
}
template <class T>
T* writable(GlobalMemory& memory, const pybind11::object& array, const char* name) {
  return static_cast<T*>(detail::registered<T>(memory, array, name, true));
}

// An array that may be left out of the arrays of a launch.
template <class T>
const T* optional_readable(GlobalMemory& memory, const pybind11::dict& arrays, const char* name) {
  return arrays.contains(name) ? readable<T>(memory, arrays[name], name) : nullptr;
}

}  // namespace maskconv::emulation
