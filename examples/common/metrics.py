"""scikit-image's PSNR and SSIM, of what lies in the holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def in_holes(truth: NDArray, filled: NDArray, holes: NDArray[np.bool_]) -> dict[str, float]:
    """`truth` and `filled` (H, W, C) from 0 to 1, equal outside of `holes` (H, W).

    PSNR over the pixels in the holes; SSIM as Wang et al. 2004, its map averaged over the pixels in the holes.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    similarity = structural_similarity(
        truth, filled, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )[1]  # fmt: skip
    return {
        "psnr": float(peak_signal_noise_ratio(truth[holes], filled[holes], data_range=1.0)),
        "ssim": float(similarity[holes].mean()),
    }
