"""Planted bugs of what only the TF32 kernels do: name, file below csrc, old and new text, how each may show, and of
which kernel."""

from __future__ import annotations

MMA = "kernels/gemm_mma.cuh"
GRAD_WEIGHT_MMA = "kernels/grad_weight_mma.cuh"
FRAGMENTS = "device/fragments.cuh"
WARP_TILE = "device/mma.cuh"
WEIGHTS = "device/weights.cuh"
GRAD_WEIGHT = "device/grad_weight_mma.cuh"
BARRIER = "__syncthreads();"
LINES_FIRST, STEPS_FIRST = "k + i / 2 * 4, {} + i % 2 * 8", "k + i % 2 * 4, {} + i / 2 * 8"

TF32 = (
    ("tf32: factors cut off, not rounded", FRAGMENTS, "fragment[i] = ptx::round_to_tf32(fragment[i])",
     "fragment[i] += 0", ("wrong",), "forward_tf32"),
    ("tf32: source not rounded", WARP_TILE, "Mma<Element>::round(a[m]);", "", ("wrong",), "grad_input_tf32"),
    ("tf32: weights not rounded", WARP_TILE, "Mma<Element>::round(b[n]);", "", ("wrong",), "forward_tf32"),
    ("tf32: gradients not rounded", GRAD_WEIGHT, "Mma<Element>::round(a[m]);", "", ("wrong",), "grad_weight_tf32"),
    ("tf32: input not rounded", GRAD_WEIGHT, "Mma<Element>::round(b[n]);", "", ("wrong",), "grad_weight_tf32"),
    ("tf32: quarters of a in the order of b", FRAGMENTS, LINES_FIRST.format("row"), STEPS_FIRST.format("row"),
     ("wrong",), "grad_weight_tf32"),
    ("tf32: quarters of b in the order of a", FRAGMENTS, STEPS_FIRST.format("column"), LINES_FIRST.format("column"),
     ("wrong",), "grad_input_tf32"),
    ("tf32: lanes along the wrong axis", FRAGMENTS, "line + lane / 4", "line + lane % 8", ("wrong",),
     "grad_weight_tf32"),
    ("tf32: word of a chunk forgotten", FRAGMENTS, "(chunk) + mine % kChunkElements", "(chunk)", ("wrong",),
     "grad_input_tf32"),
    ("tf32: rows of steps not swizzled", FRAGMENTS, "(chunk ^ row % 4 * 2)", "chunk", ("counters",),
     "grad_input_tf32"),
    ("tf32: rows of steps swizzled as for ldmatrix", FRAGMENTS, "(chunk ^ row % 4 * 2)", "(chunk ^ row % 8)",
     ("counters",), "grad_weight_tf32"),
    ("tf32: weights written as for ldmatrix", WEIGHTS, "operand + Tile::place(", "operand + swizzled<kRowChunks>(",
     ("wrong",), "grad_input_tf32"),
    ("tf32: main loop without its barrier", MMA, BARRIER + "                    // ...", "// ...", ("race",),
     "grad_input_tf32"),
    ("tf32: wait for one group too few", MMA, "kStages - 2>", "kStages - 1>", ("async",), "grad_input_tf32"),
    ("tf32: weight: main loop without its barrier", GRAD_WEIGHT_MMA, BARRIER + "                    // ...", "// ...",
     ("race",), "grad_weight_tf32"),
    ("tf32: weight: wait for one group too few", GRAD_WEIGHT_MMA, "kStages - 2>", "kStages - 1>", ("async",),
     "grad_weight_tf32"),
)  # fmt: skip
