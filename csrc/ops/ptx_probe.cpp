// maskconv_ext_testing::ptx_probe: the probes of kernels/ptx_probe.cuh on the GPU, for comparison with their
// emulation.
#ifdef MASKCONV_WITH_CUDA

#include "launch/ptx_probe.h"

#include <string>

#include "ops/cuda_stream.h"

namespace maskconv::ops {

namespace {

Tensor ptx_probe(std::string name, Tensor input) {
  STD_TORCH_CHECK(input.scalar_type() == ScalarType::Int && input.dim() == 1 && input.is_contiguous(),
                  "maskconv_ext: input: needs a contiguous vector of int32 words");
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const Sizes size{ptx_probe_output_words(name.c_str(), input.numel())};
  const Tensor output = torch::stable::new_empty(input, size);
  launch_ptx_probe(name.c_str(), static_cast<const uint32_t*>(input.data_ptr()), input.numel(),
                   static_cast<uint32_t*>(output.data_ptr()), current_stream(input));
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY(maskconv_ext_testing, library) {
  library.def("ptx_probe(str name, Tensor input) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext_testing, CUDA, library) {
  library.impl("ptx_probe", TORCH_BOX(&ptx_probe));
}

}  // namespace maskconv::ops

#endif  // MASKCONV_WITH_CUDA
