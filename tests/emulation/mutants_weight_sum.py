"""Planted bugs of what kernels make of sums of weights: name, file below csrc, old and new text, how each may show."""

from __future__ import annotations

WEIGHT_SUM = "device/weight_sum.cuh"
FORWARD = "kernels/forward.cuh"
EPILOGUE = "device/epilogue.cuh"
DEPTHWISE = "kernels/depthwise.cuh"
FINISH = "kernels/finish.cuh"

# With the pass whose cases must notice.
WEIGHT_SUMS = (
    ("sums of weights of the first image for all", WEIGHT_SUM, "problem.window_batch() > 1 ? output : ", "",
     ("wrong",), "forward"),
    ("sums of weights beyond the shared image", WEIGHT_SUM, "remainder(output, problem.output_positions())", "output",
     ("out_of_bounds",), "forward"),
    ("sums of weights of the first filter for all", WEIGHT_SUM, "problem.filters + channel", "problem.filters",
     ("wrong",), "forward"),
    ("sums of weights of the first chunk for all", WEIGHT_SUM, "(from + i)", "(from)", ("wrong",), "masks"),
    ("divided by 0", WEIGHT_SUM, "if (weight_sum == 0) return", "if (false) return", ("wrong",), "forward"),
    ("filled with zeros where a sum of weights is 0", WEIGHT_SUM, "problem.fill_with_bias ? bias : ", "", ("wrong",),
     "forward"),
    ("divided by a sum of weights that only decides", WEIGHT_SUM,
     "problem.normalization == Normalization::kWeight ? sum / weight_sum : scale * sum", "sum / weight_sum",
     ("wrong",), "forward"),
    ("bias divided", WEIGHT_SUM, "sum / weight_sum : scale * sum) + bias",
     "(sum + bias) / weight_sum : scale * sum + bias)", ("wrong",), "forward"),
    ("sums of weights of invalid windows", FORWARD, "row.place.valid() ? weight_sum : Acc{0}", "weight_sum",
     ("wrong",), "forward"),
    ("filter tail of the sums of weights loaded", EPILOGUE, "if (i + j < remaining) weight_sums", "weight_sums",
     ("out_of_bounds",), "forward"),
    ("sums of weights of a tail loaded in vectors", EPILOGUE, "if (params.vector_store) {\n            load",
     "if (true) {\n            load", ("misaligned", "out_of_bounds"), "forward"),
    ("every chunk divided by the first", EPILOGUE, "finish.position, channel + i);", "finish.position, channel);",
     ("wrong",), "forward"),
    ("depthwise: sums of weights ignored", DEPTHWISE, "if (params.weight_sum != nullptr) {", "if (false) {",
     ("wrong",), "depthwise"),
    ("depthwise: sums of weights of the first row of a run", DEPTHWISE, "params.problem, position, channel)",
     "params.problem, first, channel)", ("wrong",), "depthwise"),
    ("finish: sums of weights of invalid windows", FINISH, "!= nullptr && valid[i])\n          result",
     "!= nullptr)\n          result", ("wrong",), "masks"),
    ("finish: sums of weights of the first row", FINISH, "problem, at, column), weight_sums",
     "problem, row, column), weight_sums", ("wrong",), "masks"),
)  # fmt: skip
