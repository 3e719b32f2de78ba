"""What else fills holes: SciPy's interpolations of scattered points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.floating]  # (H, W, C)
Mask = NDArray[np.bool_]  # (H, W)

# Beyond this many points the triangulation takes minutes.
LINEAR_MAX_POINTS = 600_000


def nearest(picture: Picture, mask: Mask) -> Picture:
    """Every hole pixel takes the value of the valid pixel nearest to it."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return picture[rows, columns]


def linear(picture: Picture, mask: Mask) -> Picture | None:
    """Linear interpolation on the Delaunay triangulation of the valid pixels; outside of their hull, the nearest.

    Only valid pixels that touch a hole are triangulated: no other is a corner of a triangle that covers one. None
    where even these are too many.
    """
    from scipy.interpolate import LinearNDInterpolator
    from scipy.ndimage import binary_dilation
    from scipy.spatial import QhullError

    points = np.argwhere(mask & binary_dilation(~mask, np.ones((3, 3), bool)))
    if len(points) > LINEAR_MAX_POINTS:
        return None
    filled, holes = nearest(picture, mask), np.argwhere(~mask)
    try:
        values = LinearNDInterpolator(points, picture[tuple(points.T)])(holes)
    except QhullError:  # all points on one line: nothing to triangulate
        return filled
    inside = ~np.isnan(values[:, 0])
    filled[tuple(holes[inside].T)] = values[inside]
    return filled
