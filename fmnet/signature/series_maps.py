"""Maps of networks of time series: what their stems have learned, and what of it counts."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fmnet.data.grid import Grid
from fmnet.data.signature_map import SignatureMap, Source
from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.series import SeriesBackbone
from fmnet.networks.stems import DualRegression, LearnedSeeds, TemporalFilters
from fmnet.signature.attribution import (
    BASELINE,
    frozen,
    group_attribution,
    incompleteness,
    integrated_gradients,
)
from fmnet.training.fit import device_of

#: What the maps of each stem are of.
WORDS: dict[type[nn.Module], str] = {
    LearnedSeeds: "seed",
    DualRegression: "network",
    TemporalFilters: "filter",
}


def seed_maps(
    network: ScoreNetwork, grid: Grid, model: str, source: Source, n_subjects: int
) -> SignatureMap | None:
    """Show the learned seeds, or the networks, of a network of time series: a map for each.

    Each is scaled to a mean square of 1 in the mask, as its scale doesn't count. What part of the
    score a seed has is not in it, see `stem_attribution`.

    Returns
    -------
    SignatureMap or None
        With the seeds in the place of contrasts. None for networks without them: those of maps, of
        volumes, and of temporal filters, which are the same everywhere.
    """
    stem = network.backbone.stem if isinstance(network.backbone, SeriesBackbone) else None
    if isinstance(stem, LearnedSeeds):
        values = stem.weight.detach()
        units = "weight of a voxel's standardised series, root mean square 1"
        sign = "positive: the seed's series follows the voxel's"
    elif isinstance(stem, DualRegression):
        values = stem.networks
        units = "size of a voxel in the network, root mean square 1"
        sign = "positive: the network's series follows the voxel's; the sign of a network is free"
    else:
        return None
    inside = values.cpu().numpy()[:, grid.mask].astype(np.float32)
    scale = np.sqrt(np.square(inside).mean(1, keepdims=True))
    shown = (inside / np.where(scale > 0, scale, 1)).astype(np.float32)
    names = _numbered(WORDS[type(stem)], len(shown))
    return SignatureMap(shown, grid, names, "seed", units, sign, model, source, n_subjects)


def stem_attribution(
    network: ScoreNetwork,
    scans: Iterable[FloatArray],
    labels: NDArray[np.int64],
    grid: Grid,
    model: str,
    n_subjects: int,
    classes: tuple[str, str] = ("the positive class", "the negative class"),
) -> SignatureMap | None:
    """Divide the difference of the groups' mean scores among the maps that a stem makes.

    Of the final network, as seeds of different fits don't belong to one another. ``about`` says
    what part of the difference each seed, network or filter has, and what is incomplete.

    Parameters
    ----------
    network : ScoreNetwork
        Of time series.
    scans : iterable of ndarray of float32, shape (W, T, X, Y, Z)
        All windows of each person's scan.
    labels : ndarray of int, shape (N,)
        0 or 1.
    grid : Grid
        Of the scans.
    model : str
        Title of the model.
    n_subjects : int
        How many people, who may have several scans.
    classes : (str, str)
        Names of the positive and the negative class.

    Returns
    -------
    SignatureMap or None
        With the stem's maps in the place of contrasts; None for networks of maps.
    """
    inner = maps_network(network)
    if inner is None:
        return None
    maps, owners = stem_maps(network, scans)
    each = integrated_gradients(inner, maps)
    shown = group_attribution(mean_by_scan(each, owners), labels)
    parts = shown.sum((1, 2, 3), dtype=float)
    total = float(parts.sum())
    stem = network.backbone.stem
    word = next((word for kind, word in WORDS.items() if isinstance(stem, kind)), "map")
    return SignatureMap(
        values=shown[:, grid.mask],
        grid=grid,
        contrasts=_numbered(word, len(shown)),
        description="attribution",
        units="score, difference of the groups' means",
        sign="positive: sets {} above {}; negative: the other way round".format(*classes),
        model=model,
        source="final",
        n_subjects=n_subjects,
        about={
            "Baseline": BASELINE,
            "PartOfDifference": [float(part / total) if total else 0.0 for part in parts],
            "Incompleteness": incompleteness(inner, maps, each),
        },
    )


def _numbered(word: str, n: int) -> tuple[str, ...]:
    return tuple(f"{word}{number}" for number in range(1, n + 1))


def maps_network(network: ScoreNetwork) -> ScoreNetwork | None:
    """Take what scores the maps that a stem makes of time series, as a network of its own.

    It shares the parameters of the network. Its inputs are those of `stem_maps`, in which 0 is the
    mean of the training people, so that all of `fmnet.signature.attribution` holds for it.

    Returns
    -------
    ScoreNetwork or None
        From (B, K, X, Y, Z), one channel for each seed, network or filter, to (B,). None for
        networks of maps.
    """
    backbone = network.backbone
    if not isinstance(backbone, SeriesBackbone):
        return None
    return ScoreNetwork(backbone.inner, network.head)


@torch.no_grad()
def stem_maps(
    network: ScoreNetwork, scans: Iterable[FloatArray]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Make the standardised maps that a network of time series scores, window by window.

    Parameters
    ----------
    network : ScoreNetwork
        Of time series.
    scans : iterable of ndarray of float32, shape (W, T, X, Y, Z)
        All windows of each person's scan; W may differ.

    Returns
    -------
    tuple of ndarray, shapes (M, K, X, Y, Z) and (M,)
        Maps of all windows (of networks of volumes: of all their volumes), and the number of the
        scan that each belongs to.
    """
    backbone = network.backbone
    assert isinstance(backbone, SeriesBackbone), "a network of time series"
    maps, owners = [], []
    with frozen(network):
        for number, windows in enumerate(scans):
            for window in windows:  # one by one, for the memory that series take
                series = torch.from_numpy(window[None]).to(device_of(network))
                maps.append(backbone.standard(backbone.maps(series)).cpu())
                owners += [number] * len(maps[-1])
    return torch.cat(maps).numpy(), np.array(owners)


def mean_by_scan(values: FloatArray, owners: NDArray[np.int64]) -> FloatArray:
    """Average what was computed of each window over the windows of a scan.

    Of attributions: what each voxel of the stem's maps adds to the score of the person, which is
    the mean of their windows' scores.

    Parameters
    ----------
    values : ndarray, shape (M, ...)
    owners : ndarray of int, shape (M,)
        Numbers of scans, from 0 on; see `stem_maps`.

    Returns
    -------
    ndarray of float32, shape (N, ...)
    """
    scans = range(int(owners.max()) + 1)
    return np.stack([values[owners == scan].mean(0) for scan in scans]).astype(np.float32)
