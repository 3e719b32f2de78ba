// The stream that CUDA operators run on.
#pragma once

#include <dlfcn.h>

#include "ops/tensors.h"

namespace maskconv::ops {

// A cudaStream_t: torch's current one on the tensor's device.
inline void* current_stream(const Tensor& tensor) {
  // Looked up by name in the library that torch has loaded already: linking to it would keep this one from
  // loading where torch has no CUDA, and a weak symbol is not found, since torch's libraries are not in the
  // global scope. (The stable interface to a stream's handle needs torch 2.13.)
  using GetStream = AOTITorchError (*)(int32_t device_index, void** stream);
  static const auto get_stream = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return library ? reinterpret_cast<GetStream>(dlsym(library, "aoti_torch_get_current_cuda_stream"))
                   : nullptr;
  }();
  STD_TORCH_CHECK(get_stream != nullptr,
                  "maskconv_ext: this torch has no aoti_torch_get_current_cuda_stream");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(get_stream(tensor.get_device_index(), &stream));
  return stream;
}

}  // namespace maskconv::ops
