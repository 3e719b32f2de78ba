// Problems and element types as tests write them.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "plan/conv_problem.h"
#include "plan/dtype.h"

namespace maskconv::emulation {

// From a dict with the fields of ConvProblem, enums as the strings of the Python interface.
ConvProblem to_problem(const pybind11::dict& from);
Normalization to_normalization(const std::string& wanted);
DType to_dtype(const std::string& wanted);

}  // namespace maskconv::emulation
