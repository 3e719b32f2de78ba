"""Planted bugs of the grad_weight kernels: name, file below csrc, old and new text, and how each may show."""

from __future__ import annotations

MMA = "kernels/grad_weight_mma.cuh"
SIMT = "device/grad_weight_packed.cuh"
REDUCE = "kernels/grad_weight_reduce.cuh"
ROWS = "device/grad_weight_rows.cuh"
LOADS = "device/grad_weight_mma.cuh"
SCALAR_LOADS = "device/grad_weight_simt.cuh"
RESULT = "device/grad_weight_result.cuh"
BARRIER = "__syncthreads();"
OFFSET_OF_GROUP = "int64_t{tile.group} * params.problem.filters_per_group() + tile.first_filter"

GRAD_WEIGHT = (
    ("weight: main loop without its barrier", MMA, BARRIER + "                    // ...", "// ...", ("race",)),
    ("weight: wait for one group too few", MMA, "kStages - 2>", "kStages - 1>", ("async",)),
    ("weight: simt loop without its barrier", SIMT, "(step + 1) * kConfig.block_k);\n      " + BARRIER,
     "(step + 1) * kConfig.block_k);", ("race",)),
    ("weight: simt reads before the first put", SIMT, "}\n    " + BARRIER, "}", ("race",)),
    ("weight: reduction without its barrier", REDUCE, BARRIER, "", ("race",)),
    ("weight: rows read before all are listed", ROWS, BARRIER + "\n    ready_", "ready_",
     ("race", "misaligned", "out_of_bounds")),
    ("weight: places before all have counted", ROWS, BARRIER + "  // the counts", "// the counts", ("race",)),
    ("weight: every scan counts in one place", ROWS, "(scan % 2 * kRowsPerThread + row)", "row", ("race",)),
    ("weight: rest of the list forgotten", ROWS, "listed_ = rest;", "listed_ = 0;", ("wrong",)),
    ("weight: list used up whatever its length", ROWS, "listed_ / kConfig.block_k * kConfig.block_k", "listed_",
     ("counters", "wrong")),
    ("weight: rows of no live tap listed", ROWS, "__ballot_sync(~0u, taps[i] != 0)", "__ballot_sync(~0u, true)",
     ("wrong", "out_of_bounds", "counters")),
    ("weight: splits overlap", ROWS, "q < end_ && is_valid", "is_valid", ("wrong", "out_of_bounds")),
    ("weight: row tail of the last split", ROWS, "if (end_ > params.problem.rows()) end_ = params.problem.rows();", "",
     ("wrong", "out_of_bounds")),
    ("weight: invalid gradients listed", ROWS, "if (params_.gradient.valid == nullptr) return true;", "return true;",
     ("wrong",)),
    ("weight: valid of the first image for all", ROWS, "problem.mask_batch > 1 ? q :", "false ? q :", ("wrong",)),
    ("weight: holes gathered", ROWS, "if (params_.mask == nullptr) return true;", "return true;", ("wrong",)),
    ("weight: mask of the first image for all", ROWS, "problem.mask_batch > 1 ? window.image : 0", "0", ("wrong",)),
    ("weight: taps outside the image", ROWS, "if (!in_image) return false;", "", ("wrong", "out_of_bounds")),
    ("weight: taps run on without a carry", ROWS, "at[axis] = 0;", "", ("wrong", "out_of_bounds")),
    ("weight: first group's filters for all", ROWS, OFFSET_OF_GROUP, "tile.first_filter", ("wrong",)),
    ("weight: tap bits ignored", LOADS, "(ptx::load_shared(smem_.row_taps(first + row)) >> tap_bit_ & 1)", "true",
     ("wrong", "out_of_bounds")),
    ("weight: row tail of the input loaded", LOADS, "columns_exist_ && first + row < rows", "columns_exist_",
     ("out_of_bounds", "misaligned", "wrong")),
    ("weight: simt row tail loaded", SCALAR_LOADS, "column_exists_ && entry < rows", "column_exists_",
     ("out_of_bounds", "misaligned", "wrong")),
    ("weight: filter tail stored", RESULT, "filter >= filters_ || column", "column",
     ("out_of_bounds", "race", "wrong")),
    ("weight: column tail stored", RESULT, " || column >= remaining_", "", ("out_of_bounds", "race", "wrong")),
    ("weight: windows of the first group for all", ROWS, "(windows > 1 ? group_ : 0)", "0", ("wrong",)),
    ("weight: scales of the rest not moved", ROWS, "smem_.row_scales().move(thread, ready_ + thread);", ";",
     ("wrong",)),
    ("weight: scales beyond the last row are no numbers", ROWS, "smem_.row_scales().put(beyond, 0);", ";", ("wrong",)),
    ("weight: scale of the first window for all", ROWS, "window_of(row(i), window[i].image)", "0", ("wrong",)),
    ("weight: scales of the first step for all", LOADS, "of_step(*scales, first + k, lane_)",
     "of_step(*scales, k, lane_)", ("wrong",)),
    ("weight: scales of the first mma for all of a step", LOADS, "of_step(*scales, first + k, lane_)",
     "of_step(*scales, first, lane_)", ("wrong",)),
    ("weight: scales of the first half of the steps", LOADS, "upper_[i % 2], lower_[i % 2]", "upper_[0], lower_[0]",
     ("wrong",)),
    ("weight: lower halves of the scales forgotten", LOADS, "upper_[i % 2], lower_[i % 2]", "upper_[i % 2], 0",
     ("wrong",)),
    ("weight: simt scales of the first step", SCALAR_LOADS, "get(first + row)", "get(row)", ("wrong",)),
    ("weight: splits write one partial sum", RESULT, "tile.split * params.elements() + first", "first", ("race",)),
    ("weight: last partial sum forgotten", REDUCE, "split < params.splits", "split + 1 < params.splits", ("wrong",)),
)  # fmt: skip
