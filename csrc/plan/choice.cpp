#include "plan/choice.h"

#include <compare>
#include <map>

namespace maskconv {
namespace {

// All that a choice depends on: compared whole, so different questions never share an answer.
struct Question {
  Pass pass;
  ConvProblem problem;
  DType dtype;
  bool aligned;
  DeviceProperties device;
  int32_t window_channels;
  std::string wanted;

  auto operator<=>(const Question&) const = default;
};

// Inputs of ever new sizes would fill the memory: past so many, half a megabyte, remembering begins anew.
constexpr size_t kMaxRemembered = 1024;

// A map a thread: there is nothing to lock, and little to ask twice, for backward passes run in a thread of
// their own.
thread_local std::map<Question, Candidate> remembered;

// The same where only the masks' rules differ, which no estimate reads. A fill of NaN would equal no other.
ConvProblem without_rules(ConvProblem problem) {
  const ConvProblem defaults;
  problem.pad_is_valid = defaults.pad_is_valid;
  problem.normalization = defaults.normalization;
  problem.mask_update = defaults.mask_update;
  problem.threshold = defaults.threshold;
  problem.fill = defaults.fill;
  problem.fill_with_bias = defaults.fill_with_bias;
  return problem;
}

}  // namespace

Candidates candidates_of(Pass pass, const ConvProblem& problem, DType dtype, bool aligned,
                         const DeviceProperties& device, int32_t window_channels) {
  switch (pass) {
    case Pass::kForward:
      return forward_candidates(problem, dtype, aligned, device, window_channels);
    case Pass::kGradInput:
      return grad_input_candidates(problem, dtype, aligned, device, window_channels);
    default:
      return grad_weight_candidates(problem, dtype, aligned, device, window_channels);
  }
}

Candidate choice_of(Pass pass, const ConvProblem& problem, DType dtype, bool aligned,
                    const DeviceProperties& device, int32_t window_channels, const std::string& wanted) {
  const Question question{pass, without_rules(problem), dtype, aligned, device, window_channels, wanted};
  const auto found = remembered.find(question);
  if (found != remembered.end()) return found->second;
  const Candidate chosen =
      choose(candidates_of(pass, question.problem, dtype, aligned, device, window_channels), wanted);
  if (remembered.size() >= kMaxRemembered) remembered.clear();
  remembered.emplace(question, chosen);
  return chosen;
}

size_t remembered_choices() { return remembered.size(); }

}  // namespace maskconv
