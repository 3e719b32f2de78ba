#include "emulation/problem.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

namespace maskconv::emulation {

namespace py = pybind11;

namespace {

void read_axes(const py::dict& from, const char* key, int32_t (&axes)[kAxes]) {
  const auto values = from[key].cast<std::array<int32_t, kAxes>>();
  std::copy(values.begin(), values.end(), axes);
}

template <class Enum>
Enum chosen(const std::string& wanted, std::initializer_list<std::pair<const char*, Enum>> choices) {
  for (const auto& [name, value] : choices)
    if (wanted == name) return value;
  throw std::invalid_argument("unknown option '" + wanted + "'");
}

}  // namespace

ConvProblem to_problem(const py::dict& from) {
  ConvProblem problem;
  problem.batch = from["batch"].cast<int64_t>();
  problem.channels = from["channels"].cast<int32_t>();
  problem.filters = from["filters"].cast<int32_t>();
  problem.groups = from["groups"].cast<int32_t>();
  read_axes(from, "input", problem.input);
  read_axes(from, "output", problem.output);
  read_axes(from, "kernel", problem.kernel);
  read_axes(from, "stride", problem.stride);
  read_axes(from, "padding", problem.padding);
  read_axes(from, "dilation", problem.dilation);
  problem.mask_batch = from["mask_batch"].cast<int64_t>();
  problem.pad_is_valid = from["pad_is_valid"].cast<bool>();
  problem.allow_tf32 = from["allow_tf32"].cast<bool>();
  problem.normalization = to_normalization(from["normalization"].cast<std::string>());
  problem.mask_update =
      chosen<MaskUpdate>(from["mask_update"].cast<std::string>(), {{"any", MaskUpdate::kAny},
                                                                   {"all", MaskUpdate::kAll},
                                                                   {"center", MaskUpdate::kCenter},
                                                                   {"threshold", MaskUpdate::kThreshold},
                                                                   {"fraction", MaskUpdate::kFraction}});
  problem.threshold = from["threshold"].cast<double>();
  problem.fill = from["fill"].cast<double>();
  problem.fill_with_bias = from["fill_with_bias"].cast<bool>();
  return problem;
}

Normalization to_normalization(const std::string& wanted) {
  return chosen<Normalization>(wanted, {{"ratio", Normalization::kRatio},
                                        {"mean", Normalization::kMean},
                                        {"sqrt", Normalization::kSqrt},
                                        {"weight", Normalization::kWeight},
                                        {"none", Normalization::kNone}});
}

DType to_dtype(const std::string& wanted) {
  return chosen<DType>(wanted, {{"float32", DType::kFloat32},
                                {"float64", DType::kFloat64},
                                {"bfloat16", DType::kBFloat16},
                                {"float16", DType::kFloat16}});
}

}  // namespace maskconv::emulation
