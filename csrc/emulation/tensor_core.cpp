#include "emulation/tensor_core.h"

namespace maskconv::emulation {

template <int K>
void multiply_accumulate(float (&d)[kMmaM][kMmaN], const float (&a)[kMmaM][K], const float (&b)[kMmaN][K]) {
  double columns[K][kMmaN];
  for (int k = 0; k < K; ++k) {
    for (int n = 0; n < kMmaN; ++n) columns[k][n] = static_cast<double>(b[n][k]);
  }
  for (int m = 0; m < kMmaM; ++m) {
    double sums[kMmaN] = {};
    for (int k = 0; k < K; ++k) {
      const double scale = static_cast<double>(a[m][k]);
      for (int n = 0; n < kMmaN; ++n) sums[n] += scale * columns[k][n];
    }
    for (int n = 0; n < kMmaN; ++n) d[m][n] = static_cast<float>(static_cast<double>(d[m][n]) + sums[n]);
  }
}

template void multiply_accumulate(float (&)[kMmaM][kMmaN], const float (&)[kMmaM][8],
                                  const float (&)[kMmaN][8]);
template void multiply_accumulate(float (&)[kMmaM][kMmaN], const float (&)[kMmaM][16],
                                  const float (&)[kMmaN][16]);

}  // namespace maskconv::emulation
