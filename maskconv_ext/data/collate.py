"""Collating samples of unequal sizes: padding, and the masks that tell it from data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ..masks._checks import holds, is_number

Size = tuple[int, ...]
_ALIGNMENTS = ("start", "center")
_MASKS = ("shared", "per_field")


@dataclasses.dataclass(frozen=True)
class PadCollate:
    """A collate function for DataLoader that pads samples to one size and says what is valid; see `pad_collate`."""

    rank: int = 2
    fill: float | Mapping[Any, float] = 0
    size_multiple: int | Sequence[int] | Mapping[Any, int | Sequence[int]] = 1
    align: str = "start"
    masks: str = "shared"
    mask_key: str = "mask"

    def __post_init__(self) -> None:
        if not is_int(self.rank, 1):
            raise ValueError(f"pad_collate: rank: got {self.rank!r}, needs an int >= 1")
        if self.align not in _ALIGNMENTS:
            raise ValueError(f"pad_collate: align: got {self.align!r}, needs 'start' or 'center'")
        if self.masks not in _MASKS:
            raise ValueError(f"pad_collate: masks: got {self.masks!r}, needs 'shared' or 'per_field'")
        multiples = self.size_multiple.values() if isinstance(self.size_multiple, Mapping) else [self.size_multiple]
        for multiple in multiples:
            per_axis = multiple if isinstance(multiple, Sequence) else [multiple] * self.rank
            if len(per_axis) != self.rank or not all(is_int(n, 1) for n in per_axis):
                raise ValueError(
                    f"pad_collate: size_multiple: got {multiple!r}, needs an int >= 1 or a sequence of {self.rank} of "
                    f"them"
                )

        for fill in self.fill.values() if isinstance(self.fill, Mapping) else [self.fill]:
            if not is_number(fill):
                raise TypeError(f"pad_collate: fill: got {fill!r}, needs a number")

    def __call__(self, samples: Sequence[Any]) -> Any:
        if not samples:
            raise ValueError("pad_collate: samples: got none, needs at least one")
        columns = _columns(samples)
        for option in (self.fill, self.size_multiple):
            unknown = [name for name in option if name not in columns] if isinstance(option, Mapping) else []
            if unknown:
                raise ValueError(f"pad_collate: got options for field {unknown[0]!r}, needs one of {list(columns)}")

        batch: dict[Any, Any] = {}
        sizes: dict[Any, list[Size]] = {}  # of the padded fields
        for name, values in columns.items():
            values = [_from_numpy(name, i, v) if isinstance(v, np.ndarray) else v for i, v in enumerate(values)]
            if isinstance(values[0], Tensor) and values[0].dim() >= self.rank:
                self._check_column(name, values)
                sizes[name] = [tuple(v.shape[v.dim() - self.rank :]) for v in values]
                batch[name] = self._pad(name, values)
            else:
                batch[name] = _stack(name, values)
        per_field = {name: self._valid(name, of_field) for name, of_field in sizes.items()}

        if not isinstance(samples[0], Mapping):
            if self.masks == "shared":
                return (*batch.values(), self._shared(sizes, per_field))
            if isinstance(samples[0], tuple | list):
                return (*batch.values(), tuple(per_field.get(name) for name in batch))
            return batch[0], per_field.get(0)
        if self.masks == "per_field":
            named = {f"{name}_{self.mask_key}": mask for name, mask in per_field.items()}
            for name in named:
                if name in batch:
                    raise ValueError(f"pad_collate: mask_key: got {self.mask_key!r}, but samples have a field {name!r}")
            return batch | named
        own = batch.get(self.mask_key)
        if self.mask_key in batch and not (isinstance(own, Tensor) and own.dim() == self.rank + 2):
            first = columns[self.mask_key][0]
            got = f"shape {tuple(first.shape)}" if isinstance(first, Tensor) else type(first).__name__
            needs = f"a Tensor of {self.rank + 1} dimensions (M, *S), as a mask has; or another mask_key"
            raise ValueError(f"{_place(self.mask_key, 0)}: got {got}, needs {needs}")
        # A mask of the samples' own was padded with 0 as a field, so it tells holes and padding already.
        return {self.mask_key: self._shared(sizes, per_field)} | batch

    def _check_column(self, name: Any, values: list[Any]) -> None:
        first = values[0]
        channels = tuple(first.shape[: first.dim() - self.rank])
        for i, value in enumerate(values):
            if not isinstance(value, Tensor):
                raise TypeError(f"{_place(name, i)}: got {type(value).__name__}, needs a Tensor, as sample 0")
            if value.dim() != first.dim() or tuple(value.shape[: value.dim() - self.rank]) != channels:
                needed = ", ".join([*map(str, channels), *["*"] * self.rank])
                raise ValueError(f"{_place(name, i)}: got shape {tuple(value.shape)}, needs ({needed}), as sample 0")
            if value.dtype != first.dtype:
                raise TypeError(f"{_place(name, i)}: got {value.dtype}, needs {first.dtype}, as sample 0")
        fill = self._fill(name)
        if not holds(first.dtype, fill):
            raise TypeError(f"{_place(name, 0)}: got {first.dtype}, needs a dtype that holds the fill {fill!r}")

    def _fill(self, name: Any) -> float:
        return self.fill.get(name, 0) if isinstance(self.fill, Mapping) else 0 if name == self.mask_key else self.fill

    def _padded_size(self, name: Any, sizes: list[Size]) -> Size:
        multiple = self.size_multiple.get(name, 1) if isinstance(self.size_multiple, Mapping) else self.size_multiple
        per_axis = [multiple] * self.rank if isinstance(multiple, int) else multiple
        return tuple(-(-max(axis) // n) * n for axis, n in zip(zip(*sizes), per_axis))

    def _inside(self, size: Size, padded: Size) -> tuple[Any, ...]:
        starts = [(large - n) // 2 if self.align == "center" else 0 for n, large in zip(size, padded)]
        return (..., *(slice(start, start + n) for start, n in zip(starts, size)))

    def _pad(self, name: Any, values: list[Tensor]) -> Tensor:
        sizes = [tuple(v.shape[v.dim() - self.rank :]) for v in values]
        padded = self._padded_size(name, sizes)
        channels = values[0].shape[: values[0].dim() - self.rank]
        batch = values[0].new_full((len(values), *channels, *padded), self._fill(name))
        for i, (value, size) in enumerate(zip(values, sizes)):
            batch[i][self._inside(size, padded)] = value
        return batch

    def _valid(self, name: Any, sizes: list[Size]) -> Tensor:
        padded = self._padded_size(name, sizes)
        mask = torch.zeros(len(sizes), 1, *padded, dtype=torch.bool)
        for i, size in enumerate(sizes):
            mask[i][self._inside(size, padded)] = True
        return mask

    def _shared(self, sizes: dict[Any, list[Size]], per_field: dict[Any, Tensor]) -> Tensor | None:
        if not sizes:
            return None
        reference, expected = next(iter(sizes.items()))
        for name, of_field in sizes.items():
            for i, (size, wanted) in enumerate(zip(of_field, expected)):
                if size != wanted:
                    raise ValueError(
                        f"{_place(name, i)}: got size {size}, needs {wanted}, that of field {reference!r}; or "
                        f"masks='per_field'"
                    )
            if per_field[name].shape != per_field[reference].shape:
                raise ValueError(
                    f"pad_collate: size_multiple: got {self.size_multiple!r}, needs equal ones for fields "
                    f"{reference!r} and {name!r}; or masks='per_field'"
                )
        return per_field[reference]


def pad_collate(
    *,
    rank: int = 2,
    fill: float | Mapping[Any, float] = 0,
    size_multiple: int | Sequence[int] | Mapping[Any, int | Sequence[int]] = 1,
    align: str = "start",
    masks: str = "shared",
    mask_key: str = "mask",
) -> PadCollate:
    """A collate function for DataLoader: pads samples of unequal sizes to one, and adds the mask of what is valid.

    A sample is a dict, a tuple or list, or a single tensor. Its fields, tensors or NumPy arrays, are padded along
    their last `rank` dimensions: (C, H, W), (K, H, W) and (H, W) alike for rank 2. The dimensions before must agree.
    Fields of fewer dimensions, and numbers, are stacked; anything else is left to torch's default_collate.

    Args:
        rank: spatial axes: 1 for sequences, 2 for images, 3 for volumes.
        fill: value of the padding, or one by field (name, or position in a tuple); 0 where none is given. -100 in
            class numbers is what cross entropy ignores.
        size_multiple: the padded size is a multiple of it: an int, one an axis, or either by field.
        align: `"start"` (padding below and to the right) or `"center"` (half on each side, the odd one after).
        masks: `"shared"`: one mask for all padded fields, whose sizes must agree. `"per_field"`: one for each.
        mask_key: the mask's key in a batch of dicts; `"{field}_{mask_key}"` per field. A sample may have this field
            itself, (M, *S): padded with 0, it is the batch's mask.

    Returns:
        A picklable function of a list of samples. Masks are bool (N, 1, *S). Dicts become a dict with the masks beside
        the fields; tuples a tuple with the mask last (per field: a tuple of masks, None for stacked fields); tensors
        `(batch, mask)`. Without a padded field the shared mask is None.

    Raises:
        TypeError, ValueError: naming the option, or the field and the sample, what it got and what it needs.

    Example:
        >>> import torch
        >>> from maskconv_ext.data import pad_collate
        >>> collate = pad_collate(fill={"label": -100})
        >>> batch = collate([{"image": torch.ones(3, 1, 2), "label": torch.zeros(1, 2, dtype=torch.long)},
        ...                  {"image": torch.ones(3, 1, 1), "label": torch.ones(1, 1, dtype=torch.long)}])
        >>> batch["label"]
        tensor([[[   0,    0]],
        <BLANKLINE>
                [[   1, -100]]])
        >>> batch["mask"].flatten(1)
        tensor([[ True,  True],
                [ True, False]])
    """
    return PadCollate(rank, fill, size_multiple, align, masks, mask_key)


def is_int(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _place(name: Any, sample: int) -> str:
    return f"pad_collate: field {name!r} of sample {sample}"


def _from_numpy(name: Any, sample: int, array: np.ndarray[Any, Any]) -> Tensor:
    """A copy, in the machine's byte order: workers may share the array's memory, or only read it."""
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except TypeError as error:
        raise TypeError(f"{_place(name, sample)}: got an array of {array.dtype}, needs numbers") from error


def _columns(samples: Sequence[Any]) -> dict[Any, list[Any]]:
    """The values of each field; a lone tensor is field 0."""
    first = samples[0]
    for i, sample in enumerate(samples):
        if type(sample) is not type(first) or _fields(sample) != _fields(first):
            raise ValueError(f"pad_collate: sample {i}: got {_fields(sample)}, needs {_fields(first)}, as sample 0")
    if isinstance(first, Mapping):
        return {name: [sample[name] for sample in samples] for name in first}
    if isinstance(first, tuple | list):
        return {position: list(values) for position, values in enumerate(zip(*samples))}
    return {0: list(samples)}


def _fields(sample: Any) -> str:
    if isinstance(sample, Mapping):
        return f"fields {sorted(map(str, sample))}"
    if isinstance(sample, tuple | list):
        return f"{len(sample)} fields"
    return type(sample).__name__


def _stack(name: Any, values: list[Any]) -> Any:
    for i, value in enumerate(values):
        if isinstance(values[0], Tensor) != isinstance(value, Tensor):
            raise TypeError(
                f"{_place(name, i)}: got {type(value).__name__}, needs {type(values[0]).__name__}, as sample 0"
            )
        if isinstance(value, Tensor) and value.shape != values[0].shape:
            raise ValueError(
                f"{_place(name, i)}: got shape {tuple(value.shape)}, needs {tuple(values[0].shape)}, as sample 0"
            )
    try:
        return default_collate(values)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"pad_collate: field {name!r}: got {type(values[0]).__name__}, needs what stacks (only tensors and arrays "
            f"that are fields of a sample themselves are padded): {error}"
        ) from error
