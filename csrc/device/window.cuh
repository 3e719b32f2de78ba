// Positions of images: their numbers, and their indices along the axes.
#pragma once

#include "device/ptx.cuh"
#include "plan/conv_problem.h"

namespace maskconv {

using Axes = int32_t[kAxes];

// 64-bit division is a long routine on the device, and hardly ever needed.
__device__ __forceinline__ int64_t divide(int64_t value, int32_t divisor) {
  if (value <= UINT32_MAX) return static_cast<uint32_t>(value) / static_cast<uint32_t>(divisor);
  return value / divisor;
}

__device__ __forceinline__ int64_t remainder(int64_t value, int64_t divisor) {
  if ((value | divisor) <= UINT32_MAX) return static_cast<uint32_t>(value) % static_cast<uint32_t>(divisor);
  return value % divisor;
}

// Splits a row number into the image and the indices along axes of these sizes, the last running fastest.
struct RowIndex {
  int64_t image = 0;
  int32_t at[kAxes] = {};

  RowIndex() = default;
  __device__ __forceinline__ RowIndex(const Axes& sizes, int64_t row) {
    for (int axis = kAxes - 1; axis >= 0; --axis) {
      const int64_t rest = divide(row, sizes[axis]);
      at[axis] = static_cast<int32_t>(row - rest * sizes[axis]);
      row = rest;
    }
    image = row;
  }
};

// Number of a position in an array of images with axes of these sizes; of a position outside, a number from
// which steps that lead back inside can be counted.
__device__ __forceinline__ int64_t position(const Axes& sizes, int64_t image, const Axes& at) {
  return ((image * sizes[0] + at[0]) * sizes[1] + at[1]) * sizes[2] + at[2];
}

__device__ __forceinline__ bool inside(const Axes& sizes, int axis, int32_t at) {
  return static_cast<uint32_t>(at) < static_cast<uint32_t>(sizes[axis]);
}

}  // namespace maskconv
