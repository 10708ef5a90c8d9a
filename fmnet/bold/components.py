"""Networks found in the time series of training scans, without their labels."""

from collections.abc import Sequence

from fmnet.data.volume import FloatArray


def find_networks(series: Sequence[FloatArray], n_networks: int, seed: int) -> FloatArray:
    """Find spatial networks by group independent component analysis.

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
        One map per network, with a standard deviation of 1 over voxels, the longer tail positive,
        the network that explains most first.
    """
    raise NotImplementedError
