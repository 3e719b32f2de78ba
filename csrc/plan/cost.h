// How long a kernel is expected to take: a roofline of arithmetic, L2 and memory. It orders candidates and
// is shown by explain(); torch.backends.cudnn.benchmark measures instead.
#pragma once

#include "plan/device_properties.h"
#include "plan/gemm_planner.h"
#include "plan/work.h"

namespace maskconv {

// Microseconds. Masks are on the device, so every pixel is taken as valid.
struct Cost {
  double arithmetic = 0;
  double l2 = 0;
  double memory = 0;
  double overhead = 0;  // launches, and passes before and after

  double microseconds() const;
  const char* bound() const;  // "arithmetic", "L2", "memory" or "overhead": the largest
};

// kGathered: tensor cores, for half types, whose operands are loaded an element at a time.
enum class Arithmetic { kTensorHalf, kTensorTf32, kGathered, kFma32, kFma64 };

// What one multiprocessor takes for so many multiply-adds, at the share of its peak that these kernels can
// hope for.
double macs_to_microseconds(double macs, Arithmetic arithmetic, const DeviceProperties& device);

// Input, output, weight and masks, each moved once: what every pass has to.
double pass_bytes(const ConvProblem& problem, DType dtype);

// One launch that only moves `bytes`.
Cost memory_cost(double bytes, const DeviceProperties& device);

// Of forward or grad_input as an implicit GEMM.
Cost gemm_cost(const GemmConfig& config, const ConvProblem& problem, const GemmShape& shape, DType dtype,
               const DeviceProperties& device);

// Of a kernel that counts its own work.
Cost work_cost(const Work& work, Arithmetic arithmetic, const DeviceProperties& device);

// Counting the windows, selecting the input, the framework's convolution, and finishing its output in place.
Cost composite_cost(const ConvProblem& problem, DType dtype, const DeviceProperties& device);

// Scaling the output's gradient, the framework's convolution, and selecting: the input before, or its
// gradient in place.
Cost gradient_composite_cost(const ConvProblem& problem, DType dtype, const DeviceProperties& device);

}  // namespace maskconv
