"""Planted bugs of the depthwise kernels: name, file below csrc, old and new text, and how each may show."""

from __future__ import annotations

PLAN = "plan/depthwise.cpp"
RUNS = "device/depthwise_runs.cuh"
CONV = "kernels/depthwise.cuh"
WEIGHT = "kernels/depthwise_grad_weight.cuh"
BARRIER = "__syncthreads();"
ANY_WAY = ("wrong", "out_of_bounds", "misaligned", "race")

DEPTHWISE = (
    # Every barrier.
    ("depthwise: stage overwritten while read", CONV, BARRIER + "  // the stage has been read", "{}", ("race",)),
    ("depthwise: words before runs are placed", CONV, BARRIER + "  // runs and strips", "// runs and strips", ANY_WAY),
    ("depthwise: sums before the stage is complete", CONV, BARRIER + "  // the stage is", "// the stage is", ("race",)),
    ("depthwise: results before rows are known", CONV, BARRIER + "  // the results", "// the results", ("race",)),
    ("depthwise: runs overwritten while read", WEIGHT, BARRIER + "  // the runs before", "{}  // the", ANY_WAY),
    ("depthwise: bits before runs are placed", WEIGHT, BARRIER + "  // the runs are", "// the runs are", ANY_WAY),
    ("depthwise: products before bits are known", WEIGHT, BARRIER + "  // their bits", "// their bits", ("race",)),
    ("depthwise: stored before all have left sums", WEIGHT, BARRIER + "  // all have", "// all have", ("race",)),
    # Masks and borders.
    ("depthwise: holes loaded", RUNS, "if (in_source && params.source_valid != nullptr)", "if (false)", ("wrong",)),
    ("depthwise: bits ignored by loads", CONV, "if (!(word >> j & 1)) continue;", "", ANY_WAY),
    ("depthwise: border of the depth", RUNS, "met && inside(sizes, 0, at.at[0] + place.at[0]) &&", "met &&", ANY_WAY),
    ("depthwise: border of the width", RUNS, "inside(sizes, 2, at.at[2] + place.at[2] + ahead)", "true", ANY_WAY),
    ("depthwise: outputs between strides", RUNS, "ptx::load_shared(smem.run_phase(run)) == phase", "true", ANY_WAY),
    ("depthwise: padding never counts", RUNS, "live || (met && !in_source && problem.pad_is_valid)", "live",
     ("wrong",)),
    ("depthwise: windows of the first row for all", CONV, "(kCountedShift + row)", "kCountedShift", ("wrong",)),
    ("depthwise: windows of values, not of rows", CONV, "counted & ((1u << taps) - 1)", "counted", ("wrong",)),
    ("depthwise: centre only in the first strip", RUNS, "ahead % tap_step == 0 && ahead / tap_step < taps",
     "ahead < taps", ("wrong",)),
    # Runs, strips and what they step by.
    ("depthwise: rows beyond the line", RUNS, "rows = left < 0 ? 0 : left < kRunRows ? left : kRunRows;",
     "rows = kRunRows;", ANY_WAY),
    ("depthwise: runs beyond the last", RUNS, "if (run >= shape.runs) return {};", "", ANY_WAY),
    ("depthwise: strips beyond the last", RUNS, "if (strip >= shape.strips) {", "if (false) {", ANY_WAY),
    ("depthwise: taps beyond the line", RUNS, "left < kStripTaps ? left : kStripTaps", "kStripTaps", ANY_WAY),
    ("depthwise: every run as the first of its class", RUNS, "% shape.runs_of_class * kRunRows", "* 0", ANY_WAY),
    ("depthwise: taps rise in grad_input too", RUNS, "kDescending = true", "kDescending = false", ANY_WAY),
    ("depthwise: source steps by one", PLAN,
     "of_grad_input ? dilation / common : stride / common * dilation", "1", ANY_WAY),
    # Channels.
    ("depthwise: channel tail loaded", CONV, "first_channel + vector * kVector < params.problem.channels", "true",
     ANY_WAY),
    ("depthwise: channel tail of the weights", CONV, "wanted < remaining ? wanted : remaining", "wanted", ANY_WAY),
    ("depthwise: channel tail of grad_weight", WEIGHT, "copy < remaining ? copy : remaining", "copy", ANY_WAY),
    ("depthwise: channel tail multiplied", WEIGHT, "&& channel < params.problem.channels", "", ANY_WAY),
    ("depthwise: every block writes the windows", CONV, "column_block == 0", "true", ("race",)),
    ("depthwise: weights of the first channels for all", CONV, "int64_t{first_channel + channel} *",
     "int64_t{channel} *", ("wrong",)),
    ("depthwise: lines without padding", "plan/depthwise.h", "kLinePadding = 4", "kLinePadding = 0", ("counters",)),
    # grad_weight.
    ("depthwise: invalid gradients read", WEIGHT, "if (valid && params.gradient.valid != nullptr)", "if (false)",
     ("wrong",)),
    ("depthwise: valid of the first image for all", WEIGHT, "params.problem.mask_batch > 1 ? place.image : 0", "0",
     ("wrong",)),
    ("depthwise: scales of the first row", WEIGHT, "window + row * params.shape.row_step,", "window,", ("wrong",)),
    ("depthwise: scale of the window under tap 0", CONV, "of_run.valid + delta + j", "of_run.valid + j",
     ANY_WAY),
    ("depthwise: scale of the first value of a strip", CONV, "+ j * shape.source_step,", ",", ANY_WAY),
    ("depthwise: scale forgotten", RUNS, "scale != nullptr ? ptx::load_global(scale + position) : Acc{1}", "1",
     ("wrong",)),
    ("depthwise: windows of the first channel for all", RUNS, "gradient.window_channels + channel + i",
     "gradient.window_channels", ("wrong",)),
    ("depthwise: invalid channels read", RUNS, "valid ? to_accumulator(loaded.value[i]) * factor : Acc{0}",
     "to_accumulator(loaded.value[i]) * factor", ("wrong",)),
    ("depthwise: valid of the first window for all", RUNS, "i < windows && !found", "i < 1", ("wrong",)),
    ("depthwise: rows of a run not told apart", WEIGHT, "if (!(rows >> row & 1)) continue;", "", ANY_WAY),
    ("depthwise: holes multiplied", WEIGHT, "if (live >> j & 1)", "", ANY_WAY),
    ("depthwise: splits overlap", WEIGHT, "begin + params.runs_of_split < shape.runs ? begin + params.runs_of_split : ",
     "", ("wrong",)),
    ("depthwise: splits write one partial sum", WEIGHT, "+ split * params.elements()", "", ("race",)),
    ("depthwise: copies in a line forgotten", WEIGHT, "i < params.copies_of_line", "i < 1", ("wrong",)),
    ("depthwise: copies of strips forgotten", WEIGHT, "again < params.copies_of_strips", "again < 1", ("wrong",)),
)  # fmt: skip
