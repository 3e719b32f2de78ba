"""Planted bugs: each a change to the kernels' text that the tests must notice, and how it may show.

`python tests/emulation/mutant_driver.py` builds and runs them all and prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from mutants_channel_dot import CHANNEL_DOTS
from mutants_depthwise import DEPTHWISE
from mutants_few_channels import FEW_CHANNELS
from mutants_grad_weight import GRAD_WEIGHT
from mutants_masks import MASKS
from mutants_row_order import ROW_ORDER
from mutants_tf32 import TF32
from mutants_weight_sum import WEIGHT_SUMS


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # below csrc
    old: str
    new: str
    caught_as: tuple[str, ...]  # one of these begins the outcome
    of: str = "forward"  # the pass whose cases must notice; "..._tf32": its kernel for TF32


MMA = "kernels/gemm_mma.cuh"
SIMT = "device/packed_product.cuh"
PROLOGUE = "device/prologue.cuh"
GATHER = "device/gather.cuh"
WEIGHTS = "device/weights.cuh"
FRAGMENTS = "device/fragments.cuh"
SIMT_TILE = "device/simt.cuh"
FORWARD = "kernels/forward.cuh"
GRAD_INPUT = "kernels/grad_input.cuh"
EPILOGUE = "device/epilogue.cuh"
WARP_TILE = "device/mma.cuh"
WINDOW_SCALE = "device/window_scale.cuh"
GRAD_BIAS = "kernels/grad_bias.cuh"
TAP_SCALES = "device/tap_scales.cuh"
ROW_BLOCKS = "device/row_blocks.cuh"
BARRIER = "__syncthreads();"
PASSES = (
    "forward", "forward_tf32", "grad_input", "grad_input_tf32", "grad_weight", "grad_weight_tf32", "grad_bias",
    "channel_dot", "masks", "depthwise", "few_channels",
)  # fmt: skip

FORWARD_MUTANTS = (
    Mutant(
        "given windows ignored", FORWARD, "params.given.valid != nullptr && row.gathers", "false", ("out_of_bounds",)
    ),
    Mutant(
        "given windows of the first image for all",
        FORWARD,
        "problem.window_batch() > 1 ? row.position :",
        "",
        ("wrong",),
    ),
    Mutant(
        "given windows beyond the shared image",
        FORWARD,
        " - row.image * problem.output_positions();",
        ";",
        ("out_of_bounds",),
    ),
    Mutant(
        "given windows of the first group for all", FORWARD, "windows.channels > 1 ? tile.group : 0", "0", ("wrong",)
    ),
    Mutant("main loop without its barrier", MMA, BARRIER + "                    // ...", "// ...", ("race",)),
    Mutant("accumulators put over stages still read", MMA, BARRIER + "  // every", "// every", ("race",)),
    Mutant("epilogue reads before all have put", MMA, "sums.put(smem);\n  " + BARRIER, "sums.put(smem);", ("race",)),
    Mutant("tap list before the bitsets", PROLOGUE, "tile, smem);\n  " + BARRIER, "tile, smem);", ("race",)),
    Mutant(
        "simt loop without its barrier",
        SIMT,
        "(step + 1) % 2));\n    " + BARRIER,
        "(step + 1) % 2));",
        ("race",),
    ),
    Mutant("wait for one group too few", MMA, "cp_async_wait<kStages - 2>", "cp_async_wait<kStages - 1>", ("async",)),
    Mutant("load into the stage being read", MMA, "stage(ahead % kStages)", "stage(step % kStages)", ("async", "race")),
    Mutant("simt writes the stage being read", SIMT, "(step + 1) % 2", "step % 2", ("race",)),
    Mutant(
        "load ignores the mask",
        GATHER,
        "in_depth && (row_live_ >> i & 1)",
        "in_depth",
        ("wrong", "out_of_bounds"),
    ),
    Mutant(
        "no zero fill of holes",
        GATHER,
        "ptx::cp_async<kVectorBytes>(stage + swizzled",
        "if (row_live_ >> i & 1) ptx::cp_async<kVectorBytes>(stage + swizzled",
        ("wrong",),
    ),
    Mutant(
        "channel tail not zeroed",
        GATHER,
        "next_ + chunk_ * kChunkElements < depth_",
        "next_ >= 0",
        ("wrong", "out_of_bounds"),
    ),
    Mutant("filter tail loaded", WEIGHTS, "uint32_t{column < params.columns} << i", "1u << i", ("out_of_bounds",)),
    Mutant("filter tail stored", EPILOGUE, "if (i < remaining) ptx::store", "ptx::store", ("race", "wrong")),
    Mutant("row tail stored", EPILOGUE, "if (finish.position < 0) return;", "", ("out_of_bounds",)),
    Mutant(
        "swizzled read of an unswizzled write",
        GATHER,
        "(stage + swizzled<kRowChunks>(row_ + i * kRowsAtOnce, chunk_)",
        "(stage + ((row_ + i * kRowsAtOnce) * kRowChunks + chunk_) * kVectorBytes",
        ("wrong",),
    ),
    Mutant(
        "no swizzle",
        "device/smem.cuh",
        "(chunk ^ (row / kRowsPerBankRow % kPlaces))",
        "chunk",
        ("counters",),
    ),
    Mutant(
        "padding never counts",
        FORWARD,
        "live || (pad_is_valid && !in_image)",
        "live",
        ("wrong",),
    ),
    Mutant(
        "one position too many at the far border",
        "device/window.cuh",
        "static_cast<uint32_t>(at) < ",
        "static_cast<uint32_t>(at) <= ",
        ("wrong", "out_of_bounds"),
    ),
    Mutant("scale of an empty window", WINDOW_SCALE, "if (sum == 0) return 1;", "", ("wrong",)),
    Mutant(
        "tap list of the first warp's rows only",
        PROLOGUE,
        "row < kConfig.block_m; row += 32)",
        "row < 32; row += 32)",
        ("wrong",),
    ),
    Mutant(
        "tap list of the first word for all",
        PROLOGUE,
        "tap_word(row, first_tap)",
        "tap_word(row, 0)",
        ("out_of_bounds", "wrong"),
    ),
    Mutant(
        "every tap visited",
        PROLOGUE,
        "__reduce_or_sync(~0u, mine)",
        "~0u >> (problem.taps() - first_tap < 32 ? 32 - problem.taps() + first_tap : 0)",
        ("counters",),
    ),
    Mutant(
        "bitset of the image, not of the mask", PROLOGUE, "taps.add(tap, live)", "taps.add(tap, in_source)", ("wrong",)
    ),
    Mutant("dilation forgotten between taps", FORWARD, "tap * problem.dilation[axis]", "tap", ("out_of_bounds",)),
    Mutant(
        "output mask of the wrong image",
        FORWARD,
        "static_cast<uint8_t*>(params.out_mask) + row",
        "static_cast<uint8_t*>(params.out_mask) + row % problem.output_positions()",
        ("race", "wrong"),
    ),
    Mutant(
        "shared window written by every image",
        FORWARD,
        "if (row >= problem.window_batch() * problem.output_positions()) return;",
        "",
        ("out_of_bounds",),
    ),
    Mutant("first group's channels for all", PROLOGUE, "int64_t{tile.group} * params.depth", "0", ("wrong",)),
    Mutant("bias scaled", FORWARD, "scale * sum + bias", "scale * (sum + bias)", ("wrong",)),
    Mutant("fill not written", FORWARD, "return row.place.valid() ?", "return true ?", ("wrong",)),
)
# What forward and grad_input share is broken above. Here: what only grad_input has, and the barriers again, for its
# accesses between them are others.
GRAD_INPUT_MUTANTS = tuple(
    Mutant(name, file, old, new, caught_as, "grad_input")
    for name, file, old, new, caught_as in (
        ("grad: main loop without its barrier", MMA, BARRIER + "                    // ...", "// ...", ("race",)),
        ("grad: put over stages still read", MMA, BARRIER + "  // every", "// every", ("race",)),
        ("grad: epilogue before all have put", MMA, "sums.put(smem);\n  " + BARRIER, "sums.put(smem);", ("race",)),
        ("grad: tap list before the bitsets", PROLOGUE, "tile, smem);\n  " + BARRIER, "tile, smem);", ("race",)),
        ("grad: tap list read too early", PROLOGUE, "(params.problem, smem);\n  " + BARRIER, "(params.problem, smem);",
         ("race",)),
        ("grad: simt epilogue before the put", SIMT, "sums.put(smem);\n  " + BARRIER, "sums.put(smem);", ("race",)),
        ("grad: simt reads before the first put", SIMT, "  }\n  " + BARRIER + "\n  for", "  }\n  for", ("race",)),
        ("grad: wait for one group too few", MMA, "kStages - 2>", "kStages - 1>", ("async",)),
        ("invalid outputs read", PROLOGUE, "params.source_valid == nullptr ||", "true ||", ("wrong",)),
        ("valid of the first image for all", PROLOGUE, "problem.mask_batch > 1 ? row.image : 0", "0", ("wrong",)),
        ("holes gather", GRAD_INPUT, "params.mask == nullptr ||", "true ||", ("wrong",)),
        ("holes multiplied by zero", GRAD_INPUT, "row.place.valid() ? sum : Acc{0}", "row.place.valid() * sum",
         ("wrong",)),
        ("mask of the first image for all", GRAD_INPUT, "problem.mask_batch > 1 ? place.image : 0", "0", ("wrong",)),
        ("rows of no position stored", EPILOGUE, "if (finish.position < 0) return;", "", ("out_of_bounds",)),
        ("every class as large as the first", GRAD_INPUT, "params.class_stride[axis], class_first[axis])",
         "params.class_stride[axis], 0)",
         ("out_of_bounds", "race", "wrong")),
        ("every class begins at the first position", GRAD_INPUT, "class_first[axis] + place.at", "place.at", ("race",)),
        ("classes without padding", GRAD_INPUT, "(place.at[axis] + problem.padding[axis]) %", "place.at[axis] %",
         ("wrong", "out_of_bounds")),
        ("outputs between strides", GRAD_INPUT, "return rest == 0;", "return true;", ("wrong",)),
        ("no borrow between strides", GRAD_INPUT, "--at;", "", ("wrong", "out_of_bounds")),
        ("dilation's rest forgotten", GRAD_INPUT, "part(params.problem.dilation[axis] % stride)", "part(0)",
         ("wrong", "out_of_bounds")),
        ("strides counted per dilation", GRAD_INPUT, "-(tap * problem.dilation[axis] / problem.stride[axis])",
         "-(tap * (problem.dilation[axis] / problem.stride[axis]))", ("wrong", "out_of_bounds")),
        ("grad: every tap visited", PROLOGUE, "__reduce_or_sync(~0u, mine)",
         "~0u >> (problem.taps() - first_tap < 32 ? 32 - problem.taps() + first_tap : 0)", ("counters",)),
        ("channel tail of the weights loaded", WEIGHTS, "columns_exist_ && depth", "depth", ("out_of_bounds",)),
        ("filter tail of the weights loaded", WEIGHTS, "columns_exist_ && depth + row_ + i * kRowsAtOnce < depth_",
         "columns_exist_", ("out_of_bounds",)),
        ("weights not transposed", FRAGMENTS, "ldmatrix_x4_trans(b", "ldmatrix_x4(b", ("wrong",)),
        ("weights written unswizzled", WEIGHTS,
         "Tile::place(row_ + i * kRowsAtOnce, chunk_),\n" + 34 * " " + "weight + i",
         "((row_ + i * kRowsAtOnce) * kRowChunks + chunk_) * kVectorBytes, weight + i", ("wrong",)),
        ("simt channel tail loaded", SIMT_TILE, "row_ + i * kRowsAtOnce < columns_", "true", ("out_of_bounds",)),
        # The scale.
        ("windows of the first group for all", PROLOGUE, "(windows > 1 ? group : 0)", "0", ("wrong",)),
        ("scale of the first group for all", GRAD_INPUT, "(windows > 1 ? tile.group : 0)", "0", ("wrong",)),
        ("scale of the first image for all", GRAD_INPUT, "problem.window_batch() > 1 ? row.image : 0", "0",
         ("wrong",)),
        ("scale of the window under tap 0", GRAD_INPUT, "(row_window + ahead) * windows", "row_window * windows",
         ("wrong", "out_of_bounds")),
        ("scale of another row's window", TAP_SCALES, "row_result<RowResult>(row(i))",
         "row_result<RowResult>(0)", ("wrong", "out_of_bounds")),
        ("scale where the row has no such tap", TAP_SCALES, "if (word >> (tap % kTapsPerWord) & 1)", "",
         ("wrong", "out_of_bounds")),
        ("unit of a tap that adds nothing", TAP_SCALES, "if (adds) unit_[i] = next_[i];", "unit_[i] = next_[i];",
         ("wrong",)),
        ("unit of the first tap kept", TAP_SCALES, "if (adds) unit_[i] = next_[i];", "", ("wrong",)),
        ("factors upside down", TAP_SCALES, "unit_[i] / next_[i] : 1", "next_[i] / unit_[i] : 1", ("wrong",)),
        ("last unit forgotten", TAP_SCALES, "if (scaled()) sums.multiply_rows(factors(put_taps_));", "", ("wrong",)),
        ("units over factors still read", TAP_SCALES, "tap % kSlots", "0", ("race",)),
        ("units applied before all are put", MMA, BARRIER + "  // every", "// every", ("race",)),
        ("every step of a tap enters it", TAP_SCALES, "if (applied_ == 0) sums", "sums", ("wrong", "race")),
        ("factor of the next tap", TAP_SCALES, "factors(applied_taps_++)", "factors(++applied_taps_)",
         ("wrong", "race")),
        ("factors of other rows", WARP_TILE, "row_ + m * kMmaM + half * 8 + lane_ / 4)",
         "row_ + m * kMmaM + lane_ / 4)", ("wrong",)),
        ("simt scale forgotten", SIMT_TILE, "if (params_.scale != nullptr)\n", "if (false)\n", ("wrong",)),
        ("simt scale of the first row", SIMT_TILE, "row_result<RowResult>(row_ + i * kRowsAtOnce)",
         "row_result<RowResult>(row_)", ("wrong", "out_of_bounds")),
    )
)  # fmt: skip
GRAD_BIAS_MUTANTS = tuple(
    Mutant(name, file, old, new, caught_as, "grad_bias")
    for name, file, old, new, caught_as in (
        ("grad_bias: reduction without its barrier", GRAD_BIAS, BARRIER + "\n  if (warp > 0 || lane",
         "if (warp > 0 || lane", ("race",)),
        ("grad_bias: summed without its barrier", GRAD_BIAS, BARRIER + "\n  if (warp > 0 || column",
         "if (warp > 0 || column", ("race",)),
        ("grad_bias: row tail", GRAD_BIAS, "const bool exists = at < thread.end;", "const bool exists = true;",
         ("out_of_bounds", "wrong")),
        ("grad_bias: column tail loaded", GRAD_BIAS, "if (column < problem.filters) {", "{", ("out_of_bounds", "race")),
        ("grad_bias: column tail of the partial sums", GRAD_BIAS, "|| column >= params.problem.filters) return;",
         ") return;", ("out_of_bounds", "race")),
        ("grad_bias: column tail of the bias", GRAD_BIAS, "if (warp > 0 || column >= filters)", "if (warp > 0)",
         ("out_of_bounds",)),
        ("grad_bias: invalid outputs read", GRAD_BIAS, "ptx::load_global(params.valid + window) != 0", "true",
         ("wrong",)),
        ("grad_bias: windows of the first group for all", GRAD_BIAS, "column / problem.filters_per_window()", "0",
         ("wrong",)),
        ("grad_bias: rows of a warp not added up", GRAD_BIAS, "distance >= params.threads_per_row", "distance >= 32",
         ("wrong",)),
        ("grad_bias: columns of a warp added up", GRAD_BIAS, "distance >= params.threads_per_row", "distance >= 1",
         ("wrong",)),
        ("grad_bias: last warp forgotten", GRAD_BIAS, "for (int32_t w = 0; w < kGradBiasWarps; ++w) {",
         "for (int32_t w = 0; w + 1 < kGradBiasWarps; ++w) {", ("wrong",)),
        ("grad_bias: last partial sum forgotten", GRAD_BIAS, "block < params.row_blocks;",
         "block + 1 < params.row_blocks;", ("wrong",)),
        ("grad_bias: chunks of a warp interleaved", GRAD_BIAS, "(warp * Types::kChunks + c) * 32 + lane, chunk",
         "(warp * 32 + lane) * Types::kChunks + c, chunk", ("wrong", "counters")),
        ("grad_bias: shared windows end with the image", ROW_BLOCKS, "if (at_ >= rows_) at_ -= rows_;", "",
         ("out_of_bounds",)),
    )
)  # fmt: skip
GRAD_WEIGHT_MUTANTS = tuple(Mutant(*fields, "grad_weight") for fields in GRAD_WEIGHT)
ROW_ORDER_MUTANTS = tuple(Mutant(*fields) for fields in ROW_ORDER)
CHANNEL_DOT_MUTANTS = tuple(Mutant(*fields, "channel_dot") for fields in CHANNEL_DOTS)
MASKS_MUTANTS = tuple(Mutant(*fields, "masks") for fields in MASKS)
TF32_MUTANTS = tuple(Mutant(*fields) for fields in TF32)
DEPTHWISE_MUTANTS = tuple(Mutant(*fields, "depthwise") for fields in DEPTHWISE)
WEIGHT_SUM_MUTANTS = tuple(Mutant(*fields) for fields in WEIGHT_SUMS)
FEW_CHANNELS_MUTANTS = tuple(Mutant(*fields, "few_channels") for fields in FEW_CHANNELS)
MUTANTS = (
    *FORWARD_MUTANTS, *GRAD_INPUT_MUTANTS, *ROW_ORDER_MUTANTS, *GRAD_WEIGHT_MUTANTS, *GRAD_BIAS_MUTANTS,
    *CHANNEL_DOT_MUTANTS, *MASKS_MUTANTS, *TF32_MUTANTS, *DEPTHWISE_MUTANTS, *FEW_CHANNELS_MUTANTS, *WEIGHT_SUM_MUTANTS,
)  # fmt: skip
