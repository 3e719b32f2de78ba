#include "ops/runtime.h"

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

#include <atomic>
#include <exception>

#include "ops/tensors.h"

namespace maskconv::ops {

namespace {

template <typename T>
Tensor matrix(const T* data, int64_t rows, int64_t columns, int64_t leading, bool transposed) {
  constexpr ScalarType dtype = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  const Sizes sizes{rows, columns};
  const Sizes strides = transposed ? Sizes{1, leading} : Sizes{leading, 1};
  const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
  return torch::stable::from_blob(const_cast<T*>(data), sizes, strides, cpu, dtype);
}

// Through the C shims of compiled models, which are as stable: the dispatcher's C interface has no scalars.
template <typename T>
void gemm(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, bool transpose_a, const T* b, int64_t ldb,
          bool transpose_b, T beta, T* c, int64_t ldc) {
  const Tensor left = matrix(a, m, k, lda, transpose_a);
  const Tensor right = matrix(b, k, n, ldb, transpose_b);
  const Tensor out = matrix(c, m, n, ldc, false);
  if (beta == T{0}) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mm_out(out.get(), left.get(), right.get()));
  } else {
    TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_addmm_out(out.get(), out.get(), left.get(), right.get(), 1.0, 1.0));
  }
}

// torch's pool does not carry exceptions through its C interface, so the first one is kept and thrown again.
void parallel_for(int64_t begin, int64_t end, int64_t grain, const cpu::Runtime::Body& body) {
  std::exception_ptr failure;
  std::atomic_flag failed = ATOMIC_FLAG_INIT;
  torch::stable::parallel_for(begin, end, grain, [&](int64_t first, int64_t last) {
    try {
      body(first, last);
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

cpu::Runtime cpu_runtime() {
  return {parallel_for, gemm<float>, gemm<double>, static_cast<int>(torch::stable::get_num_threads())};
}

}  // namespace maskconv::ops
