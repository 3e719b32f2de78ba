from __future__ import annotations
def can_run(input, mask, weight, options): return False
def masked_conv(input, mask, weight, bias, options): raise NotImplementedError
