"""Planted bugs of the row order: name, file below csrc, text, its replacement, how the tests may notice, and the pass.

The first half breaks the keys; the order of the rest is right, and it is the kernels that take rows by it wrongly.
"""

ROW_KEYS = "kernels/row_keys.cuh"
ROW_ORDER_DEVICE = "device/row_order.cuh"
ROW_ORDER_PLAN = "plan/row_order.cpp"
FORWARD = "kernels/forward.cuh"
GRAD_INPUT = "kernels/grad_input.cuh"
RASTER = "row.position < 0 ? -1 : int64_t{tile.row_tile} * 64 + index"  # both tiles of a mutant have 64 rows

ROW_ORDER = (
    ("keys of invalid rows", ROW_KEYS, "&& Pass::is_valid(params, window)", "", ("wrong",), "forward"),
    ("keys beyond the last row", ROW_KEYS, "if (index >= params.rows) return;", "", ("out_of_bounds",), "forward"),
    ("row numbers of the first block", ROW_KEYS, "<uint32_t>(index));", "<uint32_t>(threadIdx.x));", ("wrong",),
     "forward"),
    ("key of the last tap alone", ROW_ORDER_DEVICE, "bits |= uint32_t{live}", "bits = uint32_t{live}", ("wrong",),
     "forward"),
    ("taps beyond the key's bits dropped", ROW_ORDER_DEVICE, "uint32_t{live} << (tap >> shift)",
     "uint32_t{live && tap < 32} << (tap % 32)", ("wrong",), "forward"),
    ("too few bits sorted", ROW_ORDER_PLAN, "class_bits + format.tap_bits", "format.tap_bits", ("wrong",),
     "grad_input"),
    ("keys without the class", ROW_KEYS, "uint64_t{Pass::row_class(params.problem, row)}", "uint64_t{0}", ("wrong",),
     "grad_input"),
    ("class of the key among the taps", ROW_KEYS, "<< params.format.tap_bits", "", ("wrong",), "grad_input"),
    ("keys of holes", ROW_KEYS, "if (row.gathers) scan", "scan", ("wrong",), "grad_input"),
    ("order ignored", ROW_ORDER_DEVICE, "params.row_order == nullptr ?", "true ?", ("counters",), "forward"),
    ("taps of invalid rows visited", "device/prologue.cuh", "if (valid) {", "if (row.gathers) {", ("counters",),
     "forward"),
    ("results where rows lay", FORWARD, "{RowPlace(row.position, valid), scale}",
     f"{{RowPlace({RASTER}, valid), scale}}", ("wrong",), "forward"),
    ("windows where rows lay", FORWARD, "store_window(params, row.position,", f"store_window(params, {RASTER},",
     ("wrong",), "forward"),
    ("windows beyond the last row", FORWARD, "tile.speaks_for_rows && row.position >= 0", "tile.speaks_for_rows",
     ("out_of_bounds",), "forward"),
    ("row tail scanned", ROW_ORDER_DEVICE, "if (place >= rows) return -1;", "", ("out_of_bounds",), "forward"),
    ("grad: row tail scanned", ROW_ORDER_DEVICE, "if (place >= rows) return -1;", "", ("out_of_bounds",), "grad_input"),
    ("rows that there are none of", ROW_ORDER_DEVICE, "return row < rows ? row : -1;", "return row;",
     ("out_of_bounds",), "forward"),
    ("grad: rows that there are none of", ROW_ORDER_DEVICE, "return row < rows ? row : -1;", "return row;",
     ("out_of_bounds",), "grad_input"),
    ("grad: order ignored", ROW_ORDER_DEVICE, "params.row_order == nullptr ?", "true ?", ("counters",), "grad_input"),
    ("grad: results where rows lay", GRAD_INPUT, "return row_of(params, place);",
     "Row moved = row_of(params, place); if (params.row_order) moved.position = first + index; return moved;",
     ("wrong",), "grad_input"),
    ("grad: classes of an order", "plan/grad_input_planner.cpp", "has_row_order ? 1 : problem", "problem",
     ("wrong", "race", "out_of_bounds"), "grad_input"),
)  # fmt: skip
