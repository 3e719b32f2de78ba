// Whether a launch sorts its rows without being told to.
#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"
#include "plan/row_order.h"

namespace maskconv {
namespace {

constexpr double kLargestShare = 0.05;  // of the layer's time

// Bytes a row that the launches of the sort move: keys and numbers are written, a histogram reads the keys,
// and for each digit of the key CUB's radix sort moves key and number in and out. Its sum over the histogram
// moves next to nothing.
constexpr double kBytesOfKeys = 8;
constexpr double kBytesOfHistogram = 4;
constexpr double kBytesOfPass = 16;
constexpr int32_t kBitsOfDigit = 8;

double sort_microseconds(int64_t rows, const RowKeyFormat& format, const DeviceProperties& device) {
  const auto launch = [&](double bytes) {
    return memory_cost(bytes * static_cast<double>(rows), device).microseconds();
  };
  const int32_t passes = (format.bits + kBitsOfDigit - 1) / kBitsOfDigit;
  return launch(kBytesOfKeys) + launch(kBytesOfHistogram) + launch(0) + passes * launch(kBytesOfPass);
}

// The order is compared with raster order.
template <class Arguments>
bool expects_to_pay(const Arguments& arguments, const Candidate& chosen, const DeviceProperties& device) {
  const ConvProblem& problem = arguments.problem;
  const int64_t rows = row_count(arguments);
  if (problem.mask_batch == 0 || problem.taps() == 1 || !why_not_row_order(rows).empty()) return false;
  return chosen.route == Route::kGemm && sort_microseconds(rows, row_key_format(arguments), device) <=
                                             kLargestShare * chosen.cost.microseconds();
}

}  // namespace

bool expects_row_order_to_pay(const ForwardArguments& arguments, const Candidate& chosen,
                              const DeviceProperties& device) {
  return expects_to_pay(arguments, chosen, device);
}

bool expects_row_order_to_pay(const GradInputArguments& arguments, const Candidate& chosen,
                              const DeviceProperties& device) {
  return expects_to_pay(arguments, chosen, device);
}

}  // namespace maskconv
