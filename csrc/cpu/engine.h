// The CPU engine: masked convolution over raw pointers. Live rows are multiplied tile by tile from where
// their values lie, and finished by a fused epilogue. No torch: what it needs of a framework is in Runtime.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan/conv_problem.h"
#include "plan/dtype.h"
#include "plan/grad_bias.h"
#include "plan/output_gradient.h"

namespace maskconv::cpu {

// What the host supplies.
struct Runtime {
  // Calls fn(first, last) over disjoint pieces of [begin, end) of at least `grain` items, and waits for all.
  // Exceptions thrown by fn must reach the caller.
  using Body = std::function<void(int64_t first, int64_t last)>;
  std::function<void(int64_t begin, int64_t end, int64_t grain, const Body& fn)> parallel_for;

  int threads = 1;  // how many pieces parallel_for runs at once
};

enum class MaskKind : int32_t { kNone, kHard /* uint8, non-zero = valid */, kSoft /* compute type */ };

// Input channels [first_channel, first_channel + channels) read mask channel `mask_channel`.
struct MaskPart {
  int32_t mask_channel = 0;
  int32_t first_channel = 0;
  int32_t channels = 0;
};

// Mask (mask_batch, D, H, W, channels), contiguous; mask_batch is in the ConvProblem (0 with kNone).
// Soft values are float, or double where the elements are float64.
struct MaskView {
  MaskKind kind = MaskKind::kNone;
  const void* data = nullptr;
  int32_t channels = 1;  // Cm
  std::vector<MaskPart>
      parts;  // ascending, covering every input channel; with one mask channel it may be empty
  int32_t window_channels = 1;  // Gw: 1 where one window sum serves all filters, else ConvProblem::groups

  // A mask with several parts counts channels, a shared one counts positions.
  bool shared() const { return parts.size() <= 1; }
};

// Window size W: what the window sum reaches when everything is valid.
inline int64_t window_size(const ConvProblem& problem, const MaskView& mask) {
  return int64_t{problem.taps()} * (mask.shared() ? 1 : problem.channels_per_group());
}

enum class MaskElement : int32_t { kUInt8, kFloat32, kFloat64 };

// Element (n, position, channel) of a tensor is at n * batch + position * position + channel * channel,
// positions running over all axes. Either the channels or the positions are contiguous.
struct Strides {
  int64_t batch = 0;
  int64_t position = 0;
  int64_t channel = 0;
};

struct ForwardOutput {
  void* y = nullptr;  // element type of the call
  Strides strides;
  // Both (window_batch, oD, oH, oW, Gw) and contiguous. The sums are int32 for none and hard, else as the
  // mask.
  void* window_sum = nullptr;
  void* out_mask = nullptr;
  MaskElement out_mask_element = MaskElement::kUInt8;
  // Not written, but read: (window_batch, K, oD, oH, oW) in the compute type, laid out as y is, or null. Sums
  // of weight * mask, one a filter and window, which Normalization::kWeight divides by; an output is valid
  // only where its own is not 0.
  const void* weight_sum = nullptr;
};

// First step of every forward: fills out.window_sum and out.out_mask, and returns valid(q), a byte for each
// window sum. (An empty batch whose mask is empty too leaves nothing to write, and nothing valid.)
std::vector<uint8_t> compute_window(const Runtime& runtime, const ConvProblem& problem, DType dtype,
                                    const MaskView& mask, const ForwardOutput& out);

// Then this, which computes the valid outputs only.
// x (N, D, H, W, C), weight (K, kD, kH, kW, C / groups), bias (K) or null; all of type `dtype`.
void forward(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
             const void* x, const void* weight, const void* bias, const std::vector<uint8_t>& valid,
             const ForwardOutput& out);

// Or, in float32 and without holes, the framework's own convolution between these: only where a window
// reaches outside the image, or a rule takes an output away, does it give something else.
bool has_holes(const ConvProblem& problem, const MaskView& mask);
// scale(q) inside the image, which may go into the weight.
double interior_scale(const ConvProblem& problem, const MaskView& mask);
struct Border {
  std::vector<int64_t> rows;    // outputs to finish, (window_batch, oD, oH, oW), ascending
  std::vector<double> factors;  // of their sums; NaN where an output is not valid
  bool bias_inside = false;     // whether the convolution adds the bias
};
// `scaled`: whether interior_scale went into the weight.
Border find_border(const ConvProblem& problem, const MaskView& mask, const std::vector<uint8_t>& valid,
                   const void* window_sum, bool scaled, const float* bias);
// In place: out.y holds what the convolution gave.
void finish_border(const Runtime& runtime, const ConvProblem& problem, const Border& border,
                   const float* bias, const ForwardOutput& out);

// grad_bias (K): the sum of grad over its rows (plan/grad_bias.h). It does not depend on the number of
// threads.
void grad_bias(const Runtime& runtime, const GradBiasProblem& problem, DType dtype, const void* grad,
               const Strides& strides, const uint8_t* valid, void* grad_bias);

// dots (N, D, H, W, Cm), in the compute type: a * b, summed over the channels that each of a hard mask
// covers, and 0 where that is. Of the problem only the input's batch, channels and positions count.
void channel_dot(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                 const void* a, const void* b, const Strides& strides, void* dots);

// In place: (x where m != 0, else 0) * m, of a soft mask. Of the problem the same counts.
void select(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
            const Strides& strides, void* x);

// grad_input (N, D, H, W, C): exactly 0 where m == 0, and times m for a soft mask.
void grad_input(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                const OutputGradient& grad, const void* weight, void* grad_input);

// grad_weight (K, kD, kH, kW, C / groups). Deterministic for a given Runtime::threads.
void grad_weight(const Runtime& runtime, const ConvProblem& problem, DType dtype, const MaskView& mask,
                 const OutputGradient& grad, const void* x, void* grad_weight);

}  // namespace maskconv::cpu
