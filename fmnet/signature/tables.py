"""Where a signature lies, as tables: its clusters and its regions."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import label

from fmnet.data.signature_map import SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.signature.regions import Atlas, region_centres, say_place

#: Directions of a value, unless the caller has words for them.
DIRECTIONS = ("positive", "negative")
#: Regions that are named for one cluster, and the fraction of it that one has at least.
MOST_REGIONS, LEAST_FRACTION = 3, 0.05
CLUSTER_COLUMNS = ["contrast", "cluster", "direction", "peak", "x_mm", "y_mm", "z_mm", "n_voxels",
                   "size_mm3", "p", "region", "regions"]  # fmt: skip
REGION_COLUMNS = ["contrast", "label", "region", "x_mm", "y_mm", "z_mm", "n_voxels", "mean",
                  "direction", "share"]  # fmt: skip


def cluster_table(
    signature: SignatureMap,
    threshold: float = 0.0,
    atlas: Atlas | None = None,
    p_values: NDArray[np.floating] | None = None,
    directions: tuple[str, str] = DIRECTIONS,
) -> pd.DataFrame:
    """List the clusters of a map: peak, size, direction and where they lie.

    Voxels that touch by their faces are one cluster; positive and negative ones are apart.

    Parameters
    ----------
    signature : SignatureMap
        A map of z values, or a thresholded one.
    threshold : float
        In units of the map, 0 or more: larger sizes count. 0 for a map that is thresholded already.
    atlas : Atlas, optional
        Names the region of the peak, and of the cluster; words and coordinates without one.
    p_values : ndarray, shape (C, V), optional
        Of each voxel or its cluster; the smallest in a cluster is told.
    directions : (str, str)
        Words for positive and for negative values: ``more in FM``, ``less in FM``.

    Returns
    -------
    DataFrame
        One row per cluster: by contrast, positive ones first, larger peaks first.
    """
    rows = list[dict[str, Any]]()
    for channel, contrast in enumerate(signature.contrasts):
        values = signature.volume[channel]
        p = None if p_values is None else p_values[channel]
        found = _clusters(values, threshold)
        for number, (peak, index, inside) in enumerate(found, start=1):
            x, y, z = (signature.grid.affine @ [*index, 1])[:3]
            region, regions = say_place(x, y, z), ""
            if atlas is not None:
                region, regions = _name(atlas, inside, int(atlas.regions[index]))
            rows.append(
                {
                    "contrast": contrast,
                    "cluster": number,
                    "direction": directions[int(peak < 0)],
                    "peak": peak,
                    **{"x_mm": float(x), "y_mm": float(y), "z_mm": float(z)},
                    "n_voxels": int(inside.sum()),
                    "size_mm3": float(inside.sum() * np.prod(signature.grid.voxel_size_mm)),
                    "p": np.nan if p is None else float(p[inside[signature.grid.mask]].min()),
                    "region": region,
                    "regions": regions,
                }
            )
    return pd.DataFrame(rows, columns=CLUSTER_COLUMNS)


def region_table(
    signature: SignatureMap, atlas: Atlas, directions: tuple[str, str] = DIRECTIONS
) -> pd.DataFrame:
    """Sum a map up by regions: mean, and share of the summed sizes of all its values.

    Parameters
    ----------
    signature : SignatureMap
        Weights, pattern or attribution.
    atlas : Atlas
        On the map's grid.
    directions : (str, str)
        Words for a positive and a negative mean.

    Returns
    -------
    DataFrame
        One row per contrast and region, the largest share first; `REGION_COLUMNS`. Shares of one
        contrast add up to 1, or less where voxels of the mask are in no region.
    """
    labels = atlas.regions[signature.grid.mask]
    centres = region_centres(atlas.regions, signature.grid)
    rows = list[dict[str, Any]]()
    for contrast, values in zip(signature.contrasts, signature.values.astype(float), strict=True):
        counts = np.bincount(labels)
        sums, sizes = (np.bincount(labels, weights) for weights in (values, np.abs(values)))
        total = float(np.abs(values).sum()) or 1.0
        for number, centre in centres.items():
            mean = float(sums[number] / counts[number])
            rows.append(
                {
                    "contrast": contrast,
                    "label": number,
                    "region": atlas.names[number],
                    **dict(zip(("x_mm", "y_mm", "z_mm"), centre, strict=True)),
                    "n_voxels": int(counts[number]),
                    "mean": mean,
                    "direction": "none" if mean == 0 else directions[int(mean < 0)],
                    "share": float(sizes[number] / total),
                }
            )
    order = {contrast: number for number, contrast in enumerate(signature.contrasts)}
    rows.sort(key=lambda row: (order[row["contrast"]], -row["share"], row["label"]))
    return pd.DataFrame(rows, columns=REGION_COLUMNS)


def _clusters(
    values: FloatArray, threshold: float
) -> list[tuple[float, tuple[int, ...], NDArray[np.bool_]]]:
    """Find clusters of a volume, (X, Y, Z): value and voxel of the peak, and all voxels.

    The peaks and sizes of `nilearn.reporting.get_clusters_table`, which tests compare them with;
    it isn't called because regions and p values need the voxels, which it gives in further images.
    """
    found = []
    for sign in (1, -1):
        labels, n_clusters = label(sign * values > threshold)
        clusters = []
        for number in range(1, n_clusters + 1):
            inside = labels == number
            flat = int(np.argmax(np.where(inside, sign * values, -np.inf)))
            index = tuple(map(int, np.unravel_index(flat, inside.shape)))
            clusters.append((float(values[index]), index, inside))
        found += sorted(clusters, key=lambda cluster: -abs(cluster[0]))
    return found


def _name(atlas: Atlas, inside: NDArray[np.bool_], at_peak: int) -> tuple[str, str]:
    """Name the region of a cluster's peak, and those that it reaches into with their shares."""
    counts = np.bincount(atlas.regions[inside])
    shares = {
        int(one): counts[one] / counts.sum()
        for one in np.argsort(-counts, kind="stable")
        if one and counts[one] >= LEAST_FRACTION * counts.sum()
    }
    said = [f"{atlas.names[one]} {share:.0%}" for one, share in shares.items()][:MOST_REGIONS]
    return atlas.names.get(at_peak, "no region"), "; ".join(said)
