"""Group ICA: brain networks found in the time series of training scans, without their labels.

scikit-learn's `FastICA` unmixes. nilearn's `CanICA` isn't used: it wants each scan as a 4-D image,
and makes zeros of NaN, so that voxels which a scan has no data for would count as quiet ones.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.errors import CohortError, Fault

#: A voxel that fewer of the scans have data for is left out.
MIN_FRACTION = 0.5
#: Components that are kept of each scan, for each network looked for.
REDUCTION = 2
#: A voxel whose standard deviation is a smaller part of its mean does not vary, but for rounding.
LEAST_VARIATION = 1e-5
#: A component with a smaller part of the largest one's variance is rounding.
LEAST_VARIANCE = 1e-6
MAX_ITERATIONS = 500


def find_networks(series: Sequence[FloatArray], n_networks: int, seed: int) -> FloatArray:
    """Find spatial networks by group independent component analysis.

    Each scan is standardised by voxel and reduced to its principal components; those of all scans
    are reduced together and unmixed by scikit-learn's ``FastICA``. Scans are read one at a time,
    and each counts the same, however long it is.

    Parameters
    ----------
    series : sequence of ndarray, shape (T, V)
        Of training scans alone; T may differ; 0 or NaN where a scan has no data.
    n_networks : int
        K.
    seed : int
        Of the random numbers that the analysis starts from.

    Returns
    -------
    ndarray of float32, shape (K, V)
        One map per network, with a standard deviation of 1 over the voxels that at least half of
        the scans have data for, and 0 elsewhere; the longer tail is positive, and the network that
        explains most comes first.

    Raises
    ------
    CohortError
        If scans have no more volumes than networks are looked for, or all scans together hold fewer
        independent components.
    """
    scans, known, faults = [], [], []
    for number, values in enumerate(series, start=1):
        components, is_known = _reduce(values, REDUCTION * n_networks)
        scans.append(components)
        known.append(is_known)
        if len(values) <= n_networks:
            where = f"training scan {number} of {len(series)}"
            accepted = f"more than {n_networks} volumes, the number of networks looked for"
            action = "look for fewer networks, or leave the scan out"
            faults.append(Fault(where, f"{len(values)} volumes", accepted, action))
    if not scans:
        faults = [Fault("the series", "no scans", "at least one", "give the training scans")]
    if faults:
        raise CohortError(faults)
    count = np.sum(known, axis=0)
    usable = count >= max(MIN_FRACTION * len(scans), 1)
    stacked = np.concatenate([components[:, usable] for components in scans])
    group = _principal_components(stacked, n_networks)
    if (found := len(group)) < n_networks:
        accepted = f"at least {n_networks}, the number of networks looked for"
        fewer = f"look for {found} networks or fewer"
        action = fewer if found else "check that the scans cover the mask"
        told = f"{found} independent components"
        raise CohortError(Fault("the series of the training scans", told, accepted, action))
    # where scans are missing, what the others show counts for all
    maps = _unmix(group * (len(scans) / count[usable]), n_networks, seed)
    networks = np.zeros((n_networks, len(count)), dtype=np.float32)
    networks[:, usable] = maps
    return networks


def _reduce(values: FloatArray, n_components: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Reduce a scan to principal components, (n, V), and tell which voxels have data: (V,)."""
    mean = values.mean(axis=0, dtype=np.float64)
    z = np.asarray(values - mean.astype(np.float32), dtype=np.float32)
    sd = np.sqrt(np.square(z).mean(axis=0, dtype=np.float64))
    known = np.isfinite(sd) & (sd > LEAST_VARIATION * np.abs(mean))
    components = np.zeros((n_components, len(sd)), dtype=np.float32)
    if known.any():
        z = z[:, known] / sd[known].astype(np.float32) / np.float32(np.sqrt(len(z)))
        own = _principal_components(z, n_components)
        components[: len(own), known] = own
    return components, known


def _principal_components(rows: FloatArray, n_components: int) -> FloatArray:
    """Reduce rows, (N, V), to at most so many, each as long as its singular value.

    Signs are settled, so that what starts from them does not hang on the order of the rows.
    """
    if rows.shape[1] == 0:
        return rows[:0]
    variance, across = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    kept = np.flatnonzero(variance > variance[-1] * LEAST_VARIANCE)[::-1][:n_components]
    components: FloatArray = across[:, kept].T.astype(np.float32) @ rows
    return components * _longer_tail(components)


def _unmix(components: FloatArray, n_networks: int, seed: int) -> FloatArray:
    # nobody who only runs a network needs to wait for this import
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    analysis = FastICA(
        n_networks, whiten="unit-variance", max_iter=MAX_ITERATIONS, random_state=seed
    )
    with warnings.catch_warnings():
        # where it ends is as good a start as any, and the same each time
        warnings.simplefilter("ignore", ConvergenceWarning)
        maps: FloatArray = analysis.fit_transform(components.T.astype(np.float64)).T
    explained = np.square(analysis.mixing_).sum(axis=0)
    maps = maps[np.argsort(-explained, kind="stable")]
    maps = maps / maps.std(axis=1, keepdims=True)
    return maps * _longer_tail(maps)


def _longer_tail(maps: FloatArray) -> FloatArray:
    """Tell which tail of each map, (K, V), is the longer one: 1 or -1, (K, 1)."""
    centred = maps - maps.mean(axis=1, keepdims=True)
    skewness = (centred**3).sum(axis=1, keepdims=True)
    return np.where(skewness < 0, -1, 1).astype(maps.dtype)
