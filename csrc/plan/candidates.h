// What could compute a pass on CUDA, with an estimate of how long it takes or the reason why it cannot: what
// launches choose from, and what explain() shows. Pure functions of the problem, the type and the device.
#pragma once

#include <string>
#include <vector>

#include "plan/cost.h"

namespace maskconv {

enum class Route : int32_t { kGemm, kDepthwise, kFewChannels, kComposite };

struct Candidate {
  std::string name;
  Route route = Route::kGemm;
  GemmConfig config;           // of kGemm
  std::string why_not;         // empty: it can run
  Cost cost;                   // of one that can
  std::string why_only_named;  // empty unless it runs for those alone who name it

  bool runs() const { return why_not.empty(); }
  bool may_be_chosen() const { return runs() && why_only_named.empty(); }
};

using Candidates = std::vector<Candidate>;

// `aligned`: the tensors a pass loads 16 bytes at a time start on such boundaries. `window_channels`: Gw, of
// windows that are counted before, or that the gradient's scales belong to. `weight_sums`: every output meets
// one (ForwardArguments::weight_sum).
Candidates forward_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                              const DeviceProperties& device, int32_t window_channels = 1,
                              bool weight_sums = false);
Candidates grad_input_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                                 const DeviceProperties& device, int32_t window_channels = 1);
Candidates grad_weight_candidates(const ConvProblem& problem, DType dtype, bool aligned,
                                  const DeviceProperties& device, int32_t window_channels = 1);

// The one named `wanted`; with an empty name, of those that run the one expected to be fastest; with
// "kernels" the fastest of our own, which follow ConvProblem::allow_tf32 where the framework has a mind of
// its own. Throws std::invalid_argument if there is none, or it cannot run.
const Candidate& choose(const Candidates& candidates, const std::string& wanted);

// A line each: name, microseconds (empty if `choose` would not take it of its own), what bounds it or why it
// is not taken; separated by tabs. The first line is the one that `choose` takes of its own.
std::string to_lines(const Candidates& candidates);

}  // namespace maskconv
