"""Is a map of a network to be believed: does it depend on its parameters, do its voxels matter."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from fmnet.baselines.labelings import aucs_of_labelings
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import ScoreNetwork
from fmnet.signature.attribution import group_attribution, integrated_gradients
from fmnet.signature.spatial_null import surrogate_maps
from fmnet.training.fit import is_closed_form

#: Fractions of the voxels that are deleted or inserted.
FRACTIONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
#: Part of the random maps that may be more alike to a map than one of shuffled parameters is.
ALPHA = 0.05
#: Steps of shuffling a network from its top downwards.
N_STAGES = 6
#: Most steps of integrated gradients of a network whose parameters are shuffled.
N_STEPS = 8

Floats = NDArray[np.float64]
#: Prepared scans, (N, C, X, Y, Z), to their scores, (N,).
Score = Callable[[FloatArray], NDArray[Any]]


@dataclass(frozen=True)
class Randomisation:
    """How alike a network's map is to that of the same network with shuffled parameters.

    Parameters
    ----------
    similarity : float
        Size of the rank correlation over voxels, median over draws.
    draws : tuple of float
        Rank correlation with the map of each shuffled network.
    null : tuple of float
        Its size for random maps as smooth as that of the network.
    limit : float
        What all but 5 % of these stay below.
    p : float
        Fraction of random maps at least as alike to it as shuffled networks' are.
    cascade : dict
        Of networks trained by gradients: rank correlation once all layers from the last down to
        the one named are shuffled.
    """

    similarity: float
    draws: tuple[float, ...]
    null: tuple[float, ...]
    limit: float
    p: float
    cascade: Mapping[str, float]

    @property
    def passes(self) -> bool:
        """Whether the map is gone with the parameters, as far as chance lets one tell."""
        return self.similarity < self.limit


def randomise_model(
    network: ScoreNetwork,
    inputs: FloatArray,
    labels: NDArray[np.int64],
    grid: Grid,
    seed: int,
    n_draws: int = 5,
    n_null: int = 200,
) -> Randomisation:
    """Compare the attribution map of a network with those of networks with shuffled parameters.

    A map that stays the same shows the scans, not what was learned of them. The values of each
    tensor of parameters are shuffled among themselves, in all layers of a copy; buffers stay, as
    filters that aren't learned.

    Parameters
    ----------
    network : ScoreNetwork
        Of maps; for those of series see `fmnet.signature.series_maps.maps_network`.
    inputs : ndarray of float32, shape (N, C, X, Y, Z)
        Prepared scans.
    labels : ndarray of int, shape (N,)
        0 or 1; see `group_attribution`.
    grid : Grid
        Of the scans.
    seed : int
        Of the shuffling and of the random maps.
    n_draws, n_null : int
        Shuffled networks, and random maps.

    Raises
    ------
    FmnetError
        If the network has no gradients.
    """

    def ranks(one: ScoreNetwork) -> FloatArray:
        each = integrated_gradients(one, inputs, n_steps=N_STEPS)
        return _standard_ranks(group_attribution(each, labels)[:, grid.mask])

    own, generator = ranks(network), torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(n_draws):
        shuffled = copy.deepcopy(network)
        _shuffle(shuffled, generator)
        draws.append(_correlation(own, ranks(shuffled)))
    cascade = {}
    if not is_closed_form(network):
        shuffled = copy.deepcopy(network)
        for name, stage in _stages(shuffled):
            for layer in stage:
                _shuffle(layer, generator)
            cascade[name] = _correlation(own, ranks(shuffled))
    random = [_standard_ranks(one) for one in _random_maps(own, grid, n_null, seed)]
    null = np.abs([_correlation(own, one) for one in random])
    similarity = float(np.median(np.abs(draws)))
    return Randomisation(
        similarity=similarity,
        draws=tuple(draws),
        null=tuple(null.tolist()),
        limit=float(np.quantile(null, 1 - ALPHA)),
        p=(1 + int((null >= similarity).sum())) / (1 + n_null),
        cascade=cascade,
    )


def _standard_ranks(values: FloatArray) -> FloatArray:
    """Rank the voxels of all contrasts together, (C, V), with mean 0 and length 1; 0 if alike."""
    ranks = rankdata(values).reshape(values.shape)
    away = ranks - ranks.mean()
    return np.asarray(away / max(np.linalg.norm(away), 1e-12), dtype=np.float32)


def _correlation(one: FloatArray, other: FloatArray) -> float:
    return float(np.vdot(one.astype(float), other))


def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            flat = parameter.flatten()
            order = torch.randperm(len(flat), generator=generator)
            parameter.copy_(flat[order.to(flat.device)].view_as(parameter))


def _stages(network: ScoreNetwork) -> list[tuple[str, list[nn.Module]]]:
    """Divide layers with parameters into a few stages, the last layers first, by lowest layer."""
    named = [
        (name, layer)
        for name, layer in network.named_modules()
        if any(True for _ in layer.parameters(recurse=False)) and not any(layer.children())
    ]
    parts = np.array_split(np.arange(len(named))[::-1], min(N_STAGES, len(named)))
    return [(named[part[-1]][0], [named[number][1] for number in part]) for part in parts]


def _random_maps(values: FloatArray, grid: Grid, n: int, seed: int) -> Iterator[FloatArray]:
    """Draw random maps as smooth as a map, (C, V), contrast by contrast."""
    seeds = np.random.SeedSequence(seed).generate_state(len(values))
    batches = [
        surrogate_maps(row, grid, n, int(own)) for row, own in zip(values, seeds, strict=True)
    ]
    for several in zip(*batches, strict=True):
        yield from np.stack(several, axis=1)


def deletion_insertion(
    score: Score,
    inputs: FloatArray,
    labels: NDArray[np.int64],
    values: FloatArray,
    grid: Grid,
    rivals: Mapping[str, FloatArray],
    seed: int,
    n_random: int = 20,
    fractions: Sequence[float] = FRACTIONS,
) -> dict[str, Any]:
    """Take a map's largest voxels out of scans, or put them in alone, and see what AUC is left.

    Voxels, of all contrasts together, are ordered by the size of the map's values. Deleted ones are
    set to the mean of the training people; inserted ones are all that isn't.

    Parameters
    ----------
    score : callable
        From prepared scans, (N, C, X, Y, Z), to scores, (N,); each person's by a network that
        hasn't seen them.
    inputs : ndarray of float32, shape (N, C, X, Y, Z)
    labels : ndarray of int, shape (N,)
        0 or 1.
    values : ndarray of float32, shape (C, V)
        The map.
    grid : Grid
        Of map and scans.
    rivals : dict of ndarray, shape (C, V)
        Other maps, by name.
    seed : int
        Of the random maps.
    n_random : int
        Random maps as smooth as this one.
    fractions : sequence of float
        Of the voxels, increasing.

    Returns
    -------
    dict
        ``fractions``; ``map``, each of ``rivals`` and each of ``random``: ``deletion`` and
        ``insertion``, AUC at each fraction, ``deletion_area`` and ``insertion_area``, their means
        over the fractions above 0, and ``gap``, the second less the first; ``p``, the part of the
        random maps, this one among them, whose gap is at least as large. ``faithful_gap`` and
        ``p_faithful`` are the same of the correlation with the scores of the whole scans in the
        place of AUC: whether the map is true to the model, however well that tells groups apart.
    """
    scores = np.asarray(score(inputs), dtype=float)
    ends = np.stack([scores, np.asarray(score(np.zeros_like(inputs)), dtype=float)])
    above = np.asarray(fractions) > 0

    def curves(one: FloatArray) -> dict[str, Any]:
        order = np.argsort(-np.abs(one).ravel(), kind="stable")
        each = []
        for fraction in fractions:
            chosen = np.zeros(one.size, bool)
            chosen[order[: round(fraction * one.size)]] = True
            if not chosen.any():  # the same for all maps
                each.append(ends)
                continue
            is_chosen = np.zeros(inputs.shape[1:], bool)
            is_chosen[:, grid.mask] = chosen.reshape(one.shape)
            deleted = score(np.where(is_chosen, np.float32(0), inputs))
            inserted = score(np.where(is_chosen, inputs, np.float32(0)))
            each.append(np.stack([deleted, inserted]))
        left = np.stack(each, axis=1)  # (2, F, N), deleted and inserted
        auc = np.stack([aucs_of_labelings(two, np.tile(labels, (len(two), 1))) for two in left])
        areas, alike = auc[:, above].mean(1), _correlations(left, scores)[:, above].mean(1)
        return {
            "deletion": auc[0].tolist(),
            "insertion": auc[1].tolist(),
            "deletion_area": float(areas[0]),
            "insertion_area": float(areas[1]),
            "gap": float(areas[1] - areas[0]),
            "faithful_gap": float(alike[1] - alike[0]),
        }

    own = curves(values)
    random = [curves(one) for one in _random_maps(values, grid, n_random, seed)]

    def p_of(name: str) -> float:
        n_as_large = sum(bool(one[name] >= own[name]) for one in random)
        return (1 + n_as_large) / (1 + n_random)

    return {
        "fractions": list(fractions),
        "map": own,
        "rivals": {name: curves(one) for name, one in rivals.items()},
        "random": random,
        "p": p_of("gap"),
        "p_faithful": p_of("faithful_gap"),
    }


def _correlations(values: Floats, others: Floats) -> Floats:
    """Correlate the last axis, (..., N), with others, (N,): (...); 0 where all are alike."""
    one, other = values - values.mean(-1, keepdims=True), others - others.mean()
    length = np.linalg.norm(one, axis=-1) * np.linalg.norm(other)
    return np.asarray(one @ other / np.where(length > 0, length, np.inf))
