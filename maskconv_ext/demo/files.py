"""Reading a picture with its holes, and writing the filled one as the same kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import DemoError
from .baselines import Mask, Picture

TIFF = (".tif", ".tiff")
JPEG_QUALITY = 95
# Pillow's modes that are read as they are; others are converted.
PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I", "F")


@dataclass(frozen=True)
class Source:
    """A picture as it lay on disk: (H, W) or (H, W, channels), and how many of the channels are colours."""

    path: Path
    array: NDArray
    colors: int

    @property
    def picture(self) -> Picture:
        """The colours, (H, W, C), floating."""
        # float32 holds 16-bit values exactly; wider ones need float64.
        narrow = self.array.dtype.itemsize <= 2 or self.array.dtype == np.float32
        colors = self.array.reshape(*self.array.shape[:2], -1)[..., : self.colors]
        return colors.astype(np.float32 if narrow else np.float64)

    @property
    def valid(self) -> Mask:
        """What the file itself says: finite in all colours, and alpha not 0."""
        channels = self.array.reshape(*self.array.shape[:2], -1)
        valid = np.isfinite(channels[..., : self.colors]).all(-1)
        return valid & (channels[..., self.colors :] != 0).all(-1)

    @property
    def peak(self) -> float | None:
        """The value of white: the largest of an integer type; floating pictures have none."""
        return float(np.iinfo(self.array.dtype).max) if self.array.dtype.kind in "ui" else None

    def with_holes_filled(self, filled: Picture, valid: Mask) -> NDArray:
        """The array as it was, `filled` where not `valid`, and opaque there."""
        result = self.array.copy()
        channels = result.reshape(*result.shape[:2], -1)
        channels[~valid, : self.colors] = self._as_stored(filled[~valid])
        channels[~valid, self.colors :] = 1 if self.peak is None else self.peak
        return result

    def _as_stored(self, values: Picture) -> NDArray:
        if self.peak is None:
            return values.astype(self.array.dtype)
        limits = np.iinfo(self.array.dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(self.array.dtype)


def read_source(path: Path) -> Source:
    array = _read(path)
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    supported = array.dtype.kind in "uif" and array.dtype.itemsize <= 8
    channels = 1 if array.ndim == 2 else array.shape[-1]
    if not supported or array.ndim not in (2, 3) or channels > 4 or array.size == 0:
        raise DemoError(
            f"{path}: a picture is (height, width) or (height, width, 1 to 4 channels) of integers or floats, "
            f"not {array.shape} of {array.dtype}"
        )
    return Source(path, array, {1: 1, 2: 1, 3: 3, 4: 3}[channels])


def read_mask(path: Path, shape: tuple[int, int]) -> Mask:
    """True where the file is not 0 in any of its colours; its alpha, if any, does not count."""
    source = read_source(path)
    if source.array.shape[:2] != shape:
        raise DemoError(
            f"{path}: the mask is {_size(source.array.shape)} but the picture is {_size(shape)} (width x height); "
            "they have to be of one size"
        )
    return (source.picture != 0).any(-1)


def write_like(source: Source, array: NDArray, path: Path) -> None:
    if path.suffix.lower() == ".npy":
        np.save(path, array)
    elif path.suffix.lower() in TIFF:
        import tifffile

        tifffile.imwrite(path, array)
    else:
        from PIL import Image

        image = Image.fromarray(array.reshape(array.shape[:2]) if array.shape[2:] == (1,) else array)
        if path.suffix.lower() in (".jpg", ".jpeg"):
            image.save(path, quality=JPEG_QUALITY)
        else:
            image.save(path)


def _read(path: Path) -> NDArray:
    if not path.is_file():
        raise DemoError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path)
        if path.suffix.lower() in TIFF:
            import tifffile

            return tifffile.imread(path)
        return _read_with_pillow(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise DemoError(f"{path}: cannot be read as a picture ({error})") from error


def _read_with_pillow(path: Path) -> NDArray:
    from PIL import Image

    with Image.open(path) as image:
        if image.format == "PNG" and _png_bit_depth(path) == 16 and not image.mode.startswith("I"):
            raise DemoError(f"{path}: 16-bit colour PNG would be read as 8-bit; save it as TIFF or .npy")
        if image.mode in PLAIN_MODES and not (image.mode in ("L", "RGB") and "transparency" in image.info):
            return np.asarray(image)
        if image.mode == "1":
            return np.asarray(image.convert("L"))
        has_alpha = image.mode in ("PA", "La", "RGBa") or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))


def _png_bit_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]  # signature 8, chunk head 8, width 4, height 4, then the depth


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
