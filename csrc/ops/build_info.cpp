// maskconv_ext::build_info: what this library was compiled with, as JSON; tools/native_build.py defines it.
#include <torch/csrc/stable/library.h>

#include <string>

namespace maskconv::ops {

namespace {

std::string build_info() { return MASKCONV_BUILD_INFO; }

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskconv_ext, CompositeExplicitAutograd, library) {
  library.impl("build_info", TORCH_BOX(&build_info));
}

}  // namespace maskconv::ops
