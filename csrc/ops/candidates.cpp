// maskconv_ext::candidates: what the planner knows of a pass, for explain(). No tensor takes part, so a
// device that is not here can be asked about.
#include "plan/candidates.h"

#include <vector>

#include "cpu/route.h"
#include "ops/arguments.h"
#ifdef MASKCONV_WITH_CUDA
#include "launch/device.h"
#endif

namespace maskconv::ops {

namespace {

DType dtype_named(const std::string& name) {
  if (name == "float32") return DType::kFloat32;
  if (name == "float64") return DType::kFloat64;
  if (name == "bfloat16") return DType::kBFloat16;
  STD_TORCH_CHECK(name == "float16", "maskconv_ext: dtype: got '", name,
                  "', needs float16, bfloat16, float32 or float64");
  return DType::kFloat16;
}

// From the five numbers of DeviceProperties, in order; of the current device if there are none.
DeviceProperties device_from(const std::vector<double>& numbers) {
  constexpr size_t kNumbers = 5;
  if (numbers.empty()) {
#ifdef MASKCONV_WITH_CUDA
    return current_device_properties();
#else
    STD_TORCH_CHECK(false, "maskconv_ext: device: got none, and this library was built without CUDA");
#endif
  }
  STD_TORCH_CHECK(numbers.size() == kNumbers, "maskconv_ext: device: got ", numbers.size(),
                  " numbers, needs 5");
  return {static_cast<int32_t>(numbers[0]), static_cast<int32_t>(numbers[1]),
          static_cast<int32_t>(numbers[2]), numbers[3], numbers[4]};
}

std::string candidates(std::string pass, Sizes input_size, Sizes weight_size, Sizes stride, Sizes padding,
                       Sizes dilation, int64_t groups, int64_t mask_batch, int64_t window_channels,
                       std::string dtype, bool allow_tf32, std::vector<double> device, bool weight_sums,
                       bool aligned) {
  ConvProblem problem =
      make_problem({input_size, weight_size, stride, padding, dilation, groups, allow_tf32});
  problem.mask_batch = mask_batch;
  const DType type = dtype_named(dtype);
  const DeviceProperties properties = device_from(device);
  const auto windows = static_cast<int32_t>(window_channels);
  if (pass == "forward")
    return to_lines(forward_candidates(problem, type, aligned, properties, windows, weight_sums));
  if (pass == "grad_input")
    return to_lines(grad_input_candidates(problem, type, aligned, properties, windows));
  STD_TORCH_CHECK(pass == "grad_weight", "maskconv_ext: pass: got '", pass,
                  "', needs forward, grad_input or grad_weight");
  return to_lines(grad_weight_candidates(problem, type, aligned, properties, windows));
}

// The route that the CPU takes: "rows", "dense" or "direct". `whole`: the mask has no holes.
std::string cpu_route(Sizes input_size, Sizes weight_size, Sizes stride, Sizes padding, Sizes dilation,
                      int64_t groups, bool shared_mask, bool whole, bool weight_sums, bool channels_last,
                      std::string dtype) {
  cpu::MaskView mask;
  if (!whole) mask.kind = cpu::MaskKind::kHard;
  if (!shared_mask) mask.parts.resize(2);
  const ConvProblem problem =
      make_problem({input_size, weight_size, stride, padding, dilation, groups, false});
  switch (cpu::expected_route(problem, dtype_named(dtype), mask, weight_sums, channels_last)) {
    case cpu::Route::kDirect:
      return "direct";
    case cpu::Route::kDense:
      return "dense";
    default:
      return "rows";
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CompositeExplicitAutograd, library) {
  library.impl("candidates", TORCH_BOX(&candidates));
  library.impl("cpu_route", TORCH_BOX(&cpu_route));
}

}  // namespace maskconv::ops
