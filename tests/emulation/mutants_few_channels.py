"""Planted bugs of the few-channels kernels: name, file below csrc, old and new text, and how each may show."""

from __future__ import annotations

PRODUCT = "device/packed_product.cuh"
LOADS = "device/simt.cuh"
CONV = "kernels/few_channels.cuh"
WEIGHT_SUMS = "device/grad_weight_packed.cuh"
WEIGHT_LOADS = "device/grad_weight_simt.cuh"
WEIGHT = "kernels/few_channels_grad_weight.cuh"
BARRIER = "__syncthreads();"
ANY_WAY = ("wrong", "out_of_bounds", "misaligned", "race")

FEW_CHANNELS = (
    ("few: loop without its barrier", PRODUCT, "(step + 1) % 2));\n    " + BARRIER, "(step + 1) % 2));", ("race",)),
    ("few: reads before the first put", PRODUCT, "  }\n  " + BARRIER + "\n  for", "  }\n  for", ("race",)),
    ("few: epilogue before all have put", PRODUCT, "sums.put(smem);\n  " + BARRIER, "sums.put(smem);", ("race",)),
    ("few: writes the stage being read", PRODUCT, "(step + 1) % 2", "step % 2", ("race",)),
    ("few: load ignores the mask", LOADS, "in_reduction && (taps >> (tap % kTapsPerWord) & 1)", "in_reduction",
     ANY_WAY),
    ("few: reduction tail loaded", LOADS, "const bool in_reduction = live_ < live_taps_;",
     "const bool in_reduction = true;", ANY_WAY),
    ("few: depth blocks of the first tap", LOADS, "++live_;", "", ANY_WAY),
    ("few: operands unswizzled", CONV, "swizzled<kRowChunks>(row, k / kChunkElements)",
     "(row * kRowChunks + k / kChunkElements) * kVectorBytes", ("wrong",)),
    ("few: weights over the source", CONV, "stage + kConfig.block_m * kConfig.block_k * sizeof(Element)", "stage",
     ("race", "wrong")),
    ("few: accumulators of all rows alike", "device/smem.cuh", "(row * kChunksPerRow + chunk) / kChunksPerBankRow",
     "chunk / kChunksPerBankRow", ("counters",)),
    ("few: gradients unswizzled", WEIGHT, "swizzled<kWidth / kChunkElements>(k, element / kChunkElements)",
     "(k * (kWidth / kChunkElements) + element / kChunkElements) * kVectorBytes", ("wrong",)),
    ("few: input over the gradients", WEIGHT, "stage + kConfig.block_k * kConfig.block_m * sizeof(Element)", "stage",
     ("race", "wrong")),
    ("few: pairs of odd columns", WEIGHT, "template store<1>(to)", "template store<2>(to)", ANY_WAY),
    ("few: every second column lost", "device/grad_weight_mma.cuh",
     "to.template store<1>(filter, column + 1, {high});", "", ("wrong",)),
    ("few: grad_weight without its barrier", WEIGHT_SUMS, "(step + 1) * kConfig.block_k);\n      " + BARRIER,
     "(step + 1) * kConfig.block_k);", ("race",)),
    ("few: grad_weight reads before the first put", WEIGHT_SUMS, "}\n    " + BARRIER, "}", ("race",)),
    ("few: grad_weight's tap bits ignored", WEIGHT_LOADS, "(ptx::load_shared(smem_.row_taps(entry)) >> tap_bit_ & 1)",
     "true", ANY_WAY),
    ("few: gradient not scaled", CONV, "to_accumulator(element) * scale", "to_accumulator(element)", ("wrong",)),
    ("few: input not scaled", WEIGHT, "to_accumulator(element) * scale", "to_accumulator(element)", ("wrong",)),
    ("few: grad_weight's filter tail loaded", WEIGHT_LOADS, "filter_exists_ && entry < rows", "entry < rows", ANY_WAY),
)  # fmt: skip
