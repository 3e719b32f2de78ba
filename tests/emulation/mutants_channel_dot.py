"""Planted bugs of the kernel of products summed over channels: name, file below csrc, old and new text, how each may
show.
"""

from __future__ import annotations

CHANNEL_DOT = "kernels/channel_dot.cuh"

CHANNEL_DOTS = (
    ("channel_dot: sums beyond the last read", CHANNEL_DOT, "  if (exists) {", "  {", ("out_of_bounds",)),
    ("channel_dot: sums beyond the last stored", CHANNEL_DOT, "if (exists && lane == 0)", "if (lane == 0)",
     ("out_of_bounds",)),
    ("channel_dot: every lane stores the sum", CHANNEL_DOT, "if (exists && lane == 0)", "if (exists)", ("race",)),
    ("channel_dot: last two lanes not added up", CHANNEL_DOT, "distance > 0", "distance > 1", ("wrong",)),
    ("channel_dot: neighbouring sums added up", CHANNEL_DOT, "distance = params.threads_per_dot / 2", "distance = 16",
     ("wrong",)),
    ("channel_dot: holes multiplied", CHANNEL_DOT,
     "ptx::load_global(static_cast<const uint8_t*>(mask.data) + mask_index) != 0", "true", ("wrong",)),
    ("channel_dot: shared mask ends with its image", CHANNEL_DOT,
     "index < params.mask_values() ? index : index % params.mask_values()", "index", ("out_of_bounds",)),
    ("channel_dot: mask of the first image for all", CHANNEL_DOT,
     "index < params.mask_values() ? index : index % params.mask_values()",
     "index % (params.problem.input_positions() * mask.channels)", ("wrong",)),
    ("channel_dot: every part begins with the first channel", CHANNEL_DOT, "c = mask.part_begin(part) + ", "c = ",
     ("wrong",)),
    ("channel_dot: every part ends with the last channel", CHANNEL_DOT, "c < end;", "c < params.problem.channels;",
     ("wrong",)),
    ("channel_dot: first vector of each lane alone", CHANNEL_DOT, "c += step", "c = end", ("wrong",)),
    ("channel_dot: lanes share elements", CHANNEL_DOT, "lane * kVector; c", "lane; c", ("misaligned",)),
    ("channel_dot: squares", CHANNEL_DOT, "to_accumulator(right.value[i])", "to_accumulator(left.value[i])",
     ("wrong",)),
)  # fmt: skip
