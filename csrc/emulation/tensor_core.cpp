#include "emulation/tensor_core.h"

namespace maskconv::emulation {

void multiply_accumulate(float (&d)[kMmaM][kMmaN], const float (&a)[kMmaM][kMmaK],
                         const float (&b)[kMmaN][kMmaK]) {
  double columns[kMmaK][kMmaN];
  for (int k = 0; k < kMmaK; ++k) {
    for (int n = 0; n < kMmaN; ++n) columns[k][n] = static_cast<double>(b[n][k]);
  }
  for (int m = 0; m < kMmaM; ++m) {
    double sums[kMmaN] = {};
    for (int k = 0; k < kMmaK; ++k) {
      const double scale = static_cast<double>(a[m][k]);
      for (int n = 0; n < kMmaN; ++n) sums[n] += scale * columns[k][n];
    }
    for (int n = 0; n < kMmaN; ++n) d[m][n] = static_cast<float>(static_cast<double>(d[m][n]) + sums[n]);
  }
}

}  // namespace maskconv::emulation
