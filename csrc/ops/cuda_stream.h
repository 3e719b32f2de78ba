// The stream that CUDA operators run on.
#pragma once

#include "ops/tensors.h"

// Weak, so that the library also loads where torch itself has no CUDA. (The stable stream handle needs
// torch 2.13.)
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                                                   void** ret_stream);

namespace maskconv::ops {

// A cudaStream_t: torch's current one on the tensor's device.
inline void* current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return stream;
}

}  // namespace maskconv::ops
