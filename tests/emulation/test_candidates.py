"""The planner's candidates: what could run a pass, how long it is expected to take, and which is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from forward_case import Case

from maskconv_ext import _emulation

R50_56 = Case(batch=256, size=(1, 56, 56), channels=64, filters=64)
R50_14 = Case(batch=256, size=(1, 14, 14), channels=256, filters=256)
PASSES = ("forward", "grad_input", "grad_weight")
REMEMBERED = 1024  # as csrc/plan/choice.cpp has it


def candidates(pass_name: str, case: Case, **options: object) -> dict[str, dict]:
    found = _emulation.candidates(pass_name, case.problem(), case.dtype, **options)
    return {candidate["name"]: candidate for candidate in found}


@pytest.mark.parametrize("pass_name", PASSES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_something_runs_and_what_cannot_says_why(pass_name: str, dtype: str) -> None:
    found = candidates(pass_name, replace(R50_56, dtype=dtype))
    runs = [c for c in found.values() if not c["why_not"]]
    assert runs
    for candidate in found.values():
        if candidate["why_not"]:
            assert len(candidate["why_not"].split()) > 3, candidate
        else:
            parts = {name: candidate[name] for name in ("arithmetic", "l2", "memory", "overhead")}
            assert min(parts.values()) >= 0 and candidate["overhead"] > 0
            limit = max(parts["arithmetic"], parts["l2"], parts["memory"])
            assert candidate["microseconds"] == pytest.approx(limit + parts["overhead"])
            assert parts[candidate["bound"].lower()] == max(parts.values())


@pytest.mark.parametrize("pass_name", PASSES)
def test_the_smallest_estimate_is_chosen(pass_name: str) -> None:
    found = candidates(pass_name, R50_56)
    runs = {name: c["microseconds"] for name, c in found.items() if not c["why_not"]}
    assert _emulation.chosen(pass_name, R50_56.problem(), "bfloat16") == min(runs, key=runs.__getitem__)


def test_a_name_overrules_the_estimate() -> None:
    problem = R50_56.problem()
    assert _emulation.chosen("forward", problem, "bfloat16", wanted="simt_64x64x8_s2") == "simt_64x64x8_s2"
    with pytest.raises(ValueError, match="no candidate is named 'fast'; there are mma_256x128x32_s4"):
        _emulation.chosen("forward", problem, "bfloat16", wanted="fast")
    with pytest.raises(ValueError, match="simt_64x32x8_s2 computes in float64 only"):
        _emulation.chosen("forward", problem, "bfloat16", wanted="simt_64x32x8_s2")


def test_estimates_grow_with_the_work() -> None:
    for name in ("mma_128x128x32_s4", "simt_64x64x8_s2", "composite"):
        one, two = (candidates("forward", replace(R50_14, batch=n))[name]["microseconds"] for n in (256, 512))
        assert 1.8 * one < two < 2.2 * one
    narrow = candidates("forward", replace(R50_14, channels=128))["mma_128x128x32_s4"]
    assert narrow["arithmetic"] == pytest.approx(candidates("forward", R50_14)["mma_128x128x32_s4"]["arithmetic"] / 2)


def test_tf32_takes_twice_the_time_of_half_precision() -> None:
    tf32 = candidates("forward", replace(R50_14, dtype="float32", allow_tf32=True))
    half = candidates("forward", R50_14)
    for resource in ("arithmetic", "l2"):
        assert tf32["tf32_128x128x16_s4"][resource] == pytest.approx(2 * half["mma_128x128x32_s4"][resource])
    strict = candidates("forward", replace(R50_14, dtype="float32"))
    assert "not allowed" in strict["tf32_128x128x16_s4"]["why_not"]
    assert tf32["composite"]["microseconds"] < strict["composite"]["microseconds"]


def test_a_stride_leaves_the_gradient_its_share_of_the_taps() -> None:
    strided = replace(R50_14, size=(1, 28, 28), stride=(1, 2, 2))
    one = candidates("forward", strided)["mma_128x128x32_s4"]["arithmetic"]
    assert candidates("grad_input", strided)["mma_128x128x32_s4"]["arithmetic"] == pytest.approx(one, rel=0.02)


def test_the_composite_of_16_bit_types_runs_only_by_name() -> None:
    """The framework rounds the sums to 16 bits, or overflows them, before they are scaled."""
    for dtype in ("float16", "bfloat16"):
        few = replace(R50_56, dtype=dtype, batch=1, size=(1, 4, 4), channels=512, filters=512)
        found = candidates("forward", few)
        assert found["composite"]["microseconds"] == min(c["microseconds"] for c in found.values() if not c["why_not"])
        assert "16 bits" in found["composite"]["why_only_named"]
        assert _emulation.chosen("forward", few.problem(), dtype) != "composite"
        assert _emulation.chosen("forward", few.problem(), dtype, wanted="composite") == "composite"
    strict = replace(few, dtype="float32")
    assert _emulation.chosen("forward", strict.problem(), "float32") == "composite"


@pytest.mark.parametrize("pass_name", PASSES[1:])
def test_the_composite_of_gradients_runs_by_name_only_in_float16(pass_name: str) -> None:
    """Where the scaled gradient may overflow; in bfloat16 it is a factor that is rounded, and the sums are not."""
    blackwell = _emulation.DeviceProperties(compute_capability=100)  # of whose rate mma.sync reaches a quarter
    for dtype in ("float16", "bfloat16", "float32"):
        wide = replace(R50_14, dtype=dtype, allow_tf32=True)
        found = candidates(pass_name, wide, device=blackwell)
        assert found["composite"]["microseconds"] == min(c["microseconds"] for c in found.values() if not c["why_not"])
        assert ("overflow" in found["composite"]["why_only_named"]) == (dtype == "float16")

        def chosen(wanted: str, case: Case = wide) -> str:
            return _emulation.chosen(pass_name, case.problem(), case.dtype, device=blackwell, wanted=wanted)

        assert (chosen("") == "composite") == (dtype != "float16")
        assert chosen("composite") == "composite" != chosen("kernels")


@pytest.mark.parametrize("pass_name", PASSES[1:])
def test_the_composite_scales_by_windows_that_a_launch_carries(pass_name: str) -> None:
    groups = replace(R50_56, channels=130, filters=260, groups=65)
    assert not candidates(pass_name, groups)["composite"]["why_not"]
    reason = "the composite scales by the windows of at most 64 groups, or of one a filter, got 65"
    assert candidates(pass_name, groups, window_channels=65)["composite"]["why_not"] == reason
    each = replace(groups, filters=65, channels=65)
    assert not candidates(pass_name, each, window_channels=65)["composite"]["why_not"]


def test_passes_beside_the_framework_are_bytes() -> None:
    """Scaling reads and writes the output's gradient; a mask is selected by, which reads and writes the input."""
    strict = replace(R50_56, dtype="float32")
    unmasked = replace(strict, mask_batch=0)
    for pass_name in PASSES[1:]:
        overhead = candidates(pass_name, strict)["composite"]["overhead"]
        less = candidates(pass_name, unmasked)["composite"]["overhead"]
        launch = candidates(pass_name, strict)["simt_64x64x8_s2"]["overhead"]
        # As many channels as filters, so as many bytes.
        assert overhead - launch == pytest.approx(2 * (less - launch))
        assert overhead < candidates("forward", strict)["composite"]["overhead"], "no windows are counted"


def test_the_framework_pads_few_channels_on_tensor_cores() -> None:
    """To pieces of 16 bytes: 3 channels cost as much arithmetic as 8 in 16 bits, as 4 in TF32, as 3 in strict fp32."""
    for dtype, tf32, whole in (("bfloat16", False, 8), ("float32", True, 4), ("float32", False, 3)):
        for pass_name in PASSES:
            few, more = (
                candidates(pass_name, replace(R50_56, dtype=dtype, allow_tf32=tf32, channels=channels))["composite"]
                for channels in (3, whole)
            )
            assert few["arithmetic"] == pytest.approx(more["arithmetic"])


def test_narrow_layers_have_kernels_of_their_own() -> None:
    depthwise = replace(R50_56, channels=96, filters=96, groups=96, kernel=(1, 7, 7), padding=((0, 0), (3, 3), (3, 3)))
    rgb = replace(R50_56, channels=3)
    for pass_name in PASSES:
        assert _emulation.chosen(pass_name, depthwise.problem(), "bfloat16") == "depthwise"
        assert _emulation.chosen(pass_name, rgb.problem(), "bfloat16", wanted="kernels") == "few_channels"
    # The gradient for the image has 3 of a tile's 32 columns, and the framework 3 of 8.
    chosen = [_emulation.chosen(pass_name, rgb.problem(), "bfloat16") for pass_name in PASSES]
    assert chosen == ["few_channels", "composite", "few_channels"]
    runs = [name for name, c in candidates("forward", R50_56).items() if not c["why_not"]]
    assert "depthwise" not in runs and "few_channels" not in runs


def test_sums_of_weights_are_bytes_of_every_candidate() -> None:
    strict = replace(R50_56, dtype="float32")
    plain, weighted = candidates("forward", strict), candidates("forward", strict, weight_sums=True)
    more = {name: weighted[name]["memory"] - plain[name]["memory"] for name in ("simt_64x64x8_s2", "composite")}
    assert more["simt_64x64x8_s2"] > 0 and more["composite"] == 0
    finishing = weighted["composite"]["overhead"] - plain["composite"]["overhead"]
    assert finishing == pytest.approx(more["simt_64x64x8_s2"])


def test_our_own_kernels_can_be_asked_for() -> None:
    """By sums of weights, which the framework's convolution might round to TF32."""
    few = replace(R50_56, dtype="float32", batch=1, size=(1, 4, 4), channels=512, filters=512)
    assert _emulation.chosen("forward", few.problem(), "float32") == "composite"
    assert _emulation.chosen("forward", few.problem(), "float32", wanted="kernels") == "simt_64x64x8_s2"
    assert _emulation.chosen("forward", R50_56.problem(), "bfloat16", wanted="kernels").startswith("mma")


def test_operands_that_miss_their_alignment() -> None:
    found = candidates("forward", R50_56, aligned=False)
    assert "16-byte boundary" in found["mma_128x64x32_s4"]["why_not"]
    assert not found["simt_64x64x8_s2"]["why_not"]


def some_question(rng: np.random.Generator) -> tuple[str, dict, str, dict]:
    """A pass, a problem, its type and what else a choice depends on: from few of each, so that many differ in one."""
    groups = int(rng.choice([1, 1, 3]))
    case = Case(
        batch=int(rng.choice([1, 64])), size=(1, 14, int(rng.choice([14, 56]))), groups=groups,
        channels=groups * int(rng.choice([3, 64])), filters=groups * int(rng.choice([5, 128])),
        kernel=(1, 3, int(rng.choice([1, 3]))), stride=(1, int(rng.choice([1, 2])), 1),
        dilation=(1, 1, int(rng.choice([1, 2]))), mask_batch=int(rng.choice([0, 1])),
        allow_tf32=bool(rng.choice([False, True])),
    )  # fmt: skip
    device = _emulation.DeviceProperties(multiprocessors=int(rng.choice([4, 132])))
    options = {"aligned": bool(rng.choice([False, True])), "device": device}
    return str(rng.choice(PASSES)), case.problem(), str(rng.choice(["bfloat16", "float32"])), options


def test_a_name_is_part_of_the_question() -> None:
    for wanted in ("", "composite", "simt_64x64x8_s2", "composite", ""):
        choice = _emulation.choice_of("grad_input", R50_56.problem(), "bfloat16", wanted=wanted)
        assert choice["name"] == _emulation.chosen("grad_input", R50_56.problem(), "bfloat16", wanted=wanted)
    with pytest.raises(ValueError, match="no candidate is named 'fast'; there are mma_256x128x32_s4"):
        _emulation.choice_of("grad_input", R50_56.problem(), "bfloat16", wanted="fast")


def test_a_remembered_choice_is_the_one_that_would_be_made_anew() -> None:
    rng = np.random.default_rng(0)
    questions = [some_question(rng) for _ in range(2 * REMEMBERED)]
    for pass_name, problem, dtype, options in questions + questions[::-1]:
        wanted = _emulation.chosen(pass_name, problem, dtype, **options)
        fresh = next(c for c in _emulation.candidates(pass_name, problem, dtype, **options) if c["name"] == wanted)
        assert _emulation.choice_of(pass_name, problem, dtype, **options) == fresh
        assert 0 < _emulation.remembered_choices() <= REMEMBERED


def test_what_a_choice_depends_on() -> None:
    """Windows of several groups, which the depthwise kernel does not take forward, are another question."""
    depthwise = replace(R50_56, channels=96, filters=96, groups=96).problem()
    names = [_emulation.choice_of("forward", depthwise, "bfloat16", window_channels=n)["name"] for n in (1, 96, 1)]
    assert names[0] == names[2] == "depthwise" != names[1]


def test_rules_of_masks_are_not_part_of_the_question() -> None:
    """Nor is the fill, which may be NaN: equal to nothing, it would be remembered again with every call."""
    _emulation.choice_of("forward", R50_56.problem(), "bfloat16")
    before = _emulation.remembered_choices()
    for options in (
        {"fill": float("nan")}, {"fill": 1.0}, {"fill_with_bias": True}, {"normalization": "mean"},
        {"mask_update": "threshold", "threshold": 0.5}, {"pad_is_valid": True},
    ):  # fmt: skip
        case = replace(R50_56, **options)
        for _ in range(2):
            choice = _emulation.choice_of("forward", case.problem(), "bfloat16")
        assert choice == _emulation.choice_of("forward", R50_56.problem(), "bfloat16")
        fresh = _emulation.chosen("forward", case.problem(), "bfloat16")
        assert choice["name"] == fresh
    assert _emulation.remembered_choices() == before


def test_a_question_without_an_answer_is_asked_again() -> None:
    impossible = replace(R50_56, kernel=(11, 11, 11), size=(20, 20, 20), dtype="float16").problem()
    for _ in range(2):
        with pytest.raises(ValueError, match="no kernel takes the problem"):
            _emulation.choice_of("grad_input", impossible, "float16")
