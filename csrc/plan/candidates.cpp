#include "plan/candidates.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "plan/channel_mask.h"
#include "plan/depthwise.h"
#include "plan/few_channels.h"
#include "plan/forward_planner.h"
#include "plan/grad_input_planner.h"
#include "plan/grad_weight_planner.h"

namespace maskconv {
namespace {

Candidates gemm_candidates(const ConvProblem& problem, const GemmShape& shape, DType dtype, bool aligned,
                           const DeviceProperties& device) {
  Candidates candidates;
  for (const GemmConfig& config : kGemmConfigs) {
    Candidate candidate{name(config), Route::kGemm,
                        config,       why_not_config(config, problem, shape, dtype, aligned, device),
                        {},           {}};
    if (candidate.runs()) candidate.cost = gemm_cost(config, problem, shape, dtype, device);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

Arithmetic fma(DType dtype) { return dtype == DType::kFloat64 ? Arithmetic::kFma64 : Arithmetic::kFma32; }

Candidate depthwise_candidate(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  Candidate candidate{"depthwise", Route::kDepthwise, {}, why_not_depthwise(problem), {}, {}};
  if (candidate.runs()) candidate.cost = work_cost(depthwise_work(problem, dtype), fma(dtype), device);
  return candidate;
}

Candidate few_channels_candidate(const ConvProblem& problem, const GemmShape& shape, DType dtype,
                                 bool aligned, const DeviceProperties& device) {
  Candidate candidate{"few_channels",
                      Route::kFewChannels,
                      {},
                      why_not_few_channels(problem, shape, dtype, aligned, device),
                      {},
                      {}};
  const Arithmetic arithmetic = is_half(dtype) ? Arithmetic::kGathered : fma(dtype);
  if (candidate.runs())
    candidate.cost = work_cost(few_channels_work(problem, shape, dtype), arithmetic, device);
  return candidate;
}

Candidates product_candidates(const ConvProblem& problem, const GemmShape& shape, DType dtype, bool aligned,
                              const DeviceProperties& device) {
  Candidates candidates = gemm_candidates(problem, shape, dtype, aligned, device);
  candidates.push_back(depthwise_candidate(problem, dtype, device));
  candidates.push_back(few_channels_candidate(problem, shape, dtype, aligned, device));
  return candidates;
}

// Smaller estimates first, then those that are not taken, otherwise as the table of tiles has them.
bool is_better(const Candidate& one, const Candidate& other) {
  if (one.may_be_chosen() != other.may_be_chosen()) return one.may_be_chosen();
  return one.may_be_chosen() && one.cost.microseconds() < other.cost.microseconds();
}

// The framework's convolution rounds its sums to the type of its output.
Candidate forward_composite(const ConvProblem& problem, DType dtype, const DeviceProperties& device) {
  Candidate candidate{"composite", Route::kComposite, {}, {}, composite_cost(problem, dtype, device), {}};
  if (is_half(dtype))
    candidate.why_only_named =
        "sums are rounded to 16 bits, or overflow them, before they are scaled: only where it is named";
  return candidate;
}

// Of either gradient. Scaling comes first here, so the sums are those of fp32 and rounded once, as our own
// are; what is rounded beside is the scaled gradient, a factor, which in bf16 has the range of a float.
Candidate gradient_composite(const ConvProblem& problem, DType dtype, const DeviceProperties& device,
                             int32_t window_channels) {
  Candidate candidate{"composite", Route::kComposite, {}, {}, gradient_composite_cost(problem, dtype, device),
                      {}};
  if (window_channels > kMaxMaskParts && window_channels != problem.filters)
    candidate.why_not = "the composite scales by the windows of at most " + std::to_string(kMaxMaskParts) +
                        " groups, or of one a filter, got " + std::to_string(window_channels);
  if (dtype == DType::kFloat16)
    candidate.why_only_named = "gradients may overflow 16 bits when they are scaled: only where it is named";
  return candidate;
}

}  // namespace

Candidates forward_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                              const DeviceProperties& device, int32_t window_channels, bool weight_sums) {
  Candidates candidates = product_candidates(problem, forward_shape(problem), dtype, aligned, device);
  for (Candidate& candidate : candidates)
    if (candidate.route == Route::kDepthwise && candidate.runs() && window_channels > 1)
      candidate.why_not = "the depthwise kernel needs windows that all groups share, got " +
                          std::to_string(window_channels) + " a position";
  candidates.push_back(forward_composite(problem, dtype, device));
  if (!weight_sums) return candidates;
  const double sums = static_cast<double>(problem.window_batch() * problem.output_positions()) *
                      problem.filters * accumulator_bytes(dtype);
  for (Candidate& candidate : candidates) {
    Cost& cost = candidate.cost;
    (candidate.route == Route::kComposite ? cost.overhead : cost.memory) += memory_cost(sums, device).memory;
  }
  return candidates;
}

Candidates grad_input_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                                 const DeviceProperties& device, int32_t window_channels) {
  Candidates candidates = product_candidates(problem, grad_input_shape(problem), dtype, aligned, device);
  candidates.push_back(gradient_composite(problem, dtype, device, window_channels));
  return candidates;
}

Candidates grad_weight_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                                  const DeviceProperties& device, int32_t window_channels) {
  Candidates candidates;
  for (const GemmConfig& config : grad_weight::kConfigs) {
    Candidate candidate{name(config), Route::kGemm,
                        config,       why_not_grad_weight(config, problem, dtype, aligned, device),
                        {},           {}};
    if (candidate.runs()) candidate.cost = plan_grad_weight(config, 0, problem, dtype, device).cost;
    candidates.push_back(std::move(candidate));
  }
  candidates.push_back(depthwise_candidate(problem, dtype, device));
  Candidate few{"few_channels",
                Route::kFewChannels,
                few_channels::weight_config_for(problem),
                why_not_few_channels_grad_weight(problem, dtype, aligned, device),
                {},
                {}};
  if (few.runs()) {
    const GemmShape shape = forward_shape(problem);
    few.cost = work_cost(few_channels_work(problem, shape, dtype), Arithmetic::kGathered, device);
  }
  candidates.push_back(std::move(few));
  candidates.push_back(gradient_composite(problem, dtype, device, window_channels));
  return candidates;
}

const Candidate& choose(const Candidates& candidates, const std::string& wanted) {
  if (wanted == "kernels") {
    Candidates kernels = candidates;
    std::erase_if(kernels, [](const Candidate& one) { return one.route == Route::kComposite; });
    return choose(candidates, choose(kernels, "").name);
  }
  if (wanted.empty()) {
    const auto best = std::min_element(candidates.begin(), candidates.end(), is_better);
    if (best == candidates.end() || !best->may_be_chosen())
      throw std::invalid_argument("no kernel takes the problem");
    return *best;
  }
  std::string known;
  for (const Candidate& candidate : candidates) {
    if (candidate.name != wanted) {
      known += (known.empty() ? "" : ", ") + candidate.name;
      continue;
    }
    if (!candidate.runs()) throw std::invalid_argument(candidate.why_not);
    return candidate;
  }
  throw std::invalid_argument("no candidate is named '" + wanted + "'; there are " + known);
}

std::string to_lines(const Candidates& candidates) {
  Candidates sorted = candidates;
  std::stable_sort(sorted.begin(), sorted.end(), is_better);
  std::ostringstream lines;
  for (const Candidate& candidate : sorted) {
    lines << candidate.name << '\t';
    if (candidate.may_be_chosen()) {
      lines << candidate.cost.microseconds() << '\t' << candidate.cost.bound() << '\n';
    } else {
      lines << '\t' << (candidate.runs() ? candidate.why_only_named : candidate.why_not) << '\n';
    }
  }
  return lines.str();
}

}  // namespace maskconv
