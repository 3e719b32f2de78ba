"""Planted bugs of the kernels for masks of any kind: name, file below csrc, old and new text, how each may show."""

from __future__ import annotations

WINDOW = "kernels/window.cuh"
SELECT = "kernels/select.cuh"
FINISH = "kernels/finish.cuh"
CHANNEL_MASK = "device/channel_mask.cuh"
BARRIER = "__syncthreads();"

MASKS = (
    ("window: channel sums beyond the last read", WINDOW, "  if (exists) {", "  {", ("out_of_bounds",)),
    ("window: channel sums beyond the last stored", WINDOW, "if (exists && lane == 0)", "if (lane == 0)",
     ("out_of_bounds",)),
    ("window: every lane stores the sum", WINDOW, "if (exists && lane == 0)", "if (exists)", ("race",)),
    ("window: last two lanes not added up", WINDOW, "distance > 0", "distance > 1", ("wrong", "race")),
    ("window: part counted beyond the group", WINDOW, "m == last ? end : mask.part_end(m)", "mask.part_end(m)",
     ("wrong",)),
    ("window: part counted before the group", WINDOW, "m == begins ? first : ", "m == 0 ? 0 : ", ("wrong",)),
    ("window: channels of the part before", CHANNEL_MASK, "channel >= mask.ends[part]",
     "channel > mask.ends[part]", ("wrong", "out_of_bounds")),
    ("window: equal parts of one channel each", CHANNEL_MASK, "return channel / mask.part_channels;", "return channel;",
     ("wrong", "out_of_bounds")),
    ("window: bytes of the mask added up", CHANNEL_MASK, "return value != 0;", "return value;", ("wrong",)),
    ("window: window tail", WINDOW, "if (index >= params.windows()) return;", "", ("out_of_bounds",)),
    ("window: planes outside the image", WINDOW, "inside(problem.input, 0, at[0]) && ", "",
     ("out_of_bounds", "wrong")),
    ("window: columns outside the image", WINDOW, "inside_plane && inside(problem.input, 2, at[2])", "inside_plane",
     ("out_of_bounds", "wrong")),
    ("window: outside counts as one channel", WINDOW, "static_cast<Sum>(params.covered) : Sum{0}", "Sum{1} : Sum{0}",
     ("wrong",)),
    ("window: centre of the last plane", WINDOW, "d == problem.center(0) && ", "", ("wrong",)),
    ("window: threshold not reached by itself", WINDOW, "(sum) >= params.required", "(sum) > params.required",
     ("wrong",)),
    ("select: tile read before it is written", SELECT, BARRIER, "", ("race",)),
    ("select: tile written unswizzled", SELECT, "(chunk ^ (channel / kVector))", "chunk", ("wrong",)),
    ("select: channel tail loaded", SELECT, "if (channel < problem.channels)\n", "", ("out_of_bounds",)),
    ("select: position tail loaded", SELECT, "if (first < positions) values =", "values =", ("out_of_bounds",)),
    ("select: position tail loaded one by one", SELECT, "if (first + i < positions)", "", ("out_of_bounds",)),
    ("select: position tail stored", SELECT, "if (at >= positions) return;", "", ("out_of_bounds", "race")),
    ("select: channel tail stored", SELECT, "if (channel >= problem.channels) return;", "",
     ("out_of_bounds", "race")),
    ("select: channel tail stored one by one", SELECT, "if (channel + j < problem.channels)", "",
     ("out_of_bounds", "race")),
    ("select: mask of the first image for all", SELECT, "problem.mask_batch > 1 ? image : 0", "0", ("wrong",)),
    ("select: holes multiplied", SELECT, "if (m == 0) return from_accumulator<Element>(0);", "", ("wrong",)),
    ("select: mask of the neighbouring channel", SELECT, "channel_[i] == channel_[i - 1]", "true", ("wrong",)),
    ("select: row tail", SELECT, "if (at < thread.end) {", "{", ("out_of_bounds", "race")),
    ("select: row tail stored", SELECT, "if (at >= thread.end) break;", "", ("out_of_bounds", "race")),
    ("select: column tail", SELECT, "if (thread.column >= problem.channels) return;", "", ("out_of_bounds", "race")),
    ("finish: row tail", FINISH, "at < thread.end && ", "", ("out_of_bounds", "race")),
    ("finish: row tail stored", FINISH, "if (at >= thread.end) break;", "", ("out_of_bounds", "race")),
    ("finish: column tail", FINISH, "if (column >= problem.filters) return;", "", ("out_of_bounds", "race")),
    ("finish: invalid outputs scaled", FINISH, "valid[i] ? scale[i] * sum + bias[j] : filled",
     "scale[i] * sum + bias[j]", ("wrong",)),
    ("finish: bias scaled", FINISH, "scale[i] * sum + bias[j]", "scale[i] * (sum + bias[j])", ("wrong",)),
    ("finish: filled with zeros, not the bias", FINISH, "problem.fill_with_bias ? bias[j] : ", "", ("wrong",)),
    ("finish: windows of the first group for all", FINISH, "column / (problem.filters / windows.channels)", "0",
     ("wrong",)),
)  # fmt: skip
