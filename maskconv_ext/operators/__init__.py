"""What torch needs to know of the compiled operators besides their kernels: shapes for tracing, and gradients.

`csrc/ops/library.cpp` defines them. `functional.py` calls the forward, through `native.py`; its gradients
(`gradients.py`) are made of operators that have gradients themselves (`second_gradients.py`), so derivatives of any
order work.
"""

from __future__ import annotations

import torch

from . import gradients, second_gradients, shapes


def register() -> None:
    """Tell torch, once the library is loaded."""
    library = torch.library
    for name, of_what in (
        ("forward", gradients),
        ("grad_bias", second_gradients),
        ("channel_dot", second_gradients),
        ("grad_input", second_gradients),
        ("grad_weight", second_gradients),
    ):
        setup, backward = getattr(of_what, f"{name}_setup"), getattr(of_what, f"{name}_backward")
        library.register_autograd(f"maskconv_ext::{name}", backward, setup_context=setup)
        library.register_fake(f"maskconv_ext::{name}", getattr(shapes, name))
    # Without gradients: one writes in place, two order rows.
    for name in ("select_", "forward_row_order", "grad_input_row_order"):
        library.register_fake(f"maskconv_ext::{name}", getattr(shapes, name))
