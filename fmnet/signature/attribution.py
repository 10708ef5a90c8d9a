"""What each voxel and each region adds to the score of a person, for any network.

Inputs are prepared scans, (N, C, X, Y, Z) float32, in which 0 is the mean of the training people:
it is the baseline of all that is computed here, unless another is given. Networks are used as
they are: afterwards their mode, their parameters and what gradients these take are as before.
Captum, which brings IPython along, is imported where it attributes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, FmnetError
from fmnet.networks.backbones import UNFIT, ScoreNetwork, reason_of
from fmnet.training.fit import device_of, predict_scores

#: What voxels are compared with where nothing else is given, in words.
BASELINE = "mean of the training people"
#: People whose scans go through a network at once.
BATCH = 8
#: Most that attributions of a person may miss of the score, as a fraction of the mean difference
#: of scores from the baseline's; more steps are taken until they don't, see `integrated_gradients`.
TOLERANCE = 0.01
#: Steps in each stretch of the way from the baseline to a scan, where one in all is too few.
STEPS_EACH = 4
#: Where a stretch is divided: networks that normalise each scan change all of a sudden near the
#: baseline, where there is nothing to normalise.
NEAR_BASELINE, MIDDLE = 0.1, 0.5
#: Random halves of the regions, beside all of them, without which a score is looked at, to see
#: whether it is linear.
N_HALVES = 3
#: How far a linear score may be from the sum of its parts, as a fraction of its mean size.
ROUNDING = 1e-5

Regions = NDArray[np.integer]


@contextmanager
def frozen(network: ScoreNetwork) -> Iterator[None]:
    """Put a network into evaluation mode, without gradients of parameters, for a while."""
    modes = [(module, module.training) for module in network.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training
        for parameter, is_asked in asked:
            parameter.requires_grad_(is_asked)


def integrated_gradients(
    network: ScoreNetwork,
    inputs: FloatArray,
    baseline: FloatArray | None = None,
    n_steps: int = 128,
) -> FloatArray:
    """Divide each person's score, less that of the baseline, among the voxels of their scan.

    Gradients are integrated from the baseline to the scan by Gauss and Legendre's rule. One step
    is exact for scores that are linear or quadratic in the scan. Where the parts don't add up to
    the score within `TOLERANCE`, the way is divided where most is missing, again and again, until
    they do or `n_steps` are taken. See `incompleteness` for what is missing then.

    Parameters
    ----------
    network : ScoreNetwork
    inputs : ndarray of float32, shape (N, C, X, Y, Z)
        Prepared scans.
    baseline : ndarray of float32, shape (C, X, Y, Z), optional
        Scan whose score is left out; by default 0, the mean of the training people.
    n_steps : int
        Most steps of the integral.

    Returns
    -------
    ndarray of float32, shape (N, C, X, Y, Z)
        In units of the score.

    Raises
    ------
    FmnetError
        If the network has no gradients, or not finite ones.
    """
    from captum.attr import IntegratedGradients

    device = device_of(network)
    start = _baseline(baseline, inputs).to(device)
    with frozen(network):
        method = IntegratedGradients(network)
        parts = []
        for batch in torch.split(torch.from_numpy(inputs), BATCH):
            parts.append(_integrate(method, batch.to(device), start, n_steps))
        attributions = torch.cat(parts).numpy()
        if not attributions.any() and incompleteness(network, inputs, attributions, baseline) > 0:
            raise _no_gradient("gradients that are 0 everywhere")
    return np.asarray(attributions, dtype=np.float32)


def gradients(network: ScoreNetwork, inputs: FloatArray) -> FloatArray:
    """Compute how much each person's score changes with each voxel: (N, C, X, Y, Z) to the same.

    Raises
    ------
    FmnetError
        If the network has no gradients, or not finite ones.
    """
    from captum.attr import Saliency

    device = device_of(network)
    with frozen(network):
        method, parts = Saliency(network), []
        for batch in torch.split(torch.from_numpy(inputs), BATCH):
            with _asking():
                scans = batch.to(device, copy=True).requires_grad_()
                found = method.attribute(scans, abs=False)
            parts.append(_finite(found))
    return np.asarray(torch.cat(parts).numpy())


class _Stretch(NamedTuple):
    """A part of the way from a baseline, 0, to scans, 1; what it adds and misses for each."""

    low: float
    high: float
    attributions: torch.Tensor  # (B, C, X, Y, Z)
    missing: torch.Tensor  # (B,)


def _integrate(method: Any, batch: torch.Tensor, start: torch.Tensor, n_steps: int) -> torch.Tensor:
    whole = batch - start

    def stretch(low: float, high: float, n: int) -> _Stretch:
        with _asking():
            attributions, missing = method.attribute(
                start + high * whole,
                start + low * whole,
                n_steps=n,
                method="gausslegendre",
                internal_batch_size=len(batch),
                return_convergence_delta=True,
            )
        return _Stretch(low, high, attributions.detach(), missing)

    stretches, n_taken = [stretch(0, 1, 1)], 1
    while True:
        missing = torch.stack([one.missing for one in stretches])
        found = torch.stack([one.attributions for one in stretches]).sum(0)
        total = found.flatten(1).sum(1) - missing.sum(0)
        is_complete = missing.sum(0).abs().max() <= TOLERANCE * total.abs().mean()
        n_more = STEPS_EACH * (1 if n_taken == 1 else 2)
        if is_complete or n_taken + n_more > n_steps:
            return _finite(found)
        n_taken += n_more
        if len(stretches) == 1 and n_more == STEPS_EACH:
            stretches = [stretch(0, 1, STEPS_EACH)]
            continue
        low, high, *_ = stretches.pop(int(missing.abs().amax(1).argmax()))
        middle = low + (high - low) * (NEAR_BASELINE if low == 0 else MIDDLE)
        stretches += [stretch(low, middle, STEPS_EACH), stretch(middle, high, STEPS_EACH)]


@contextmanager
def _asking() -> Iterator[None]:
    """Say in plain words that a network has no gradients."""
    try:
        yield
    except UNFIT as error:
        raise _no_gradient(f"a network without them ({reason_of(error)})") from error


def _finite(found: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(found).all():
        raise _no_gradient("some that are not finite")
    return found.detach().float().cpu()


def _no_gradient(found: str) -> FmnetError:
    accepted = "a network whose score has finite gradients with respect to the scan"
    action = "explain it by occlusion of regions, which needs none"
    return FmnetError(Fault("gradients of the score", found, accepted, action))


def _baseline(baseline: FloatArray | None, inputs: FloatArray) -> torch.Tensor:
    given = np.zeros(inputs.shape[1:], np.float32) if baseline is None else baseline
    return torch.from_numpy(given)[None]


def incompleteness(
    network: ScoreNetwork,
    inputs: FloatArray,
    attributions: FloatArray,
    baseline: FloatArray | None = None,
) -> float:
    """Tell which fraction of the scores, less the baseline's, attributions miss at most.

    The largest miss of a person over the mean size of the differences; 0 for complete ones.
    """
    with frozen(network):
        difference = predict_scores(network, inputs) - predict_scores(
            network, _baseline(baseline, inputs).numpy()
        )
    missing = np.abs(attributions.sum((1, 2, 3, 4), dtype=np.float64) - difference).max()
    return float(missing / max(np.abs(difference).mean(), np.finfo(np.float32).tiny))


def group_attribution(attributions: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """Average attributions in the positive group, less those in the other: (C, X, Y, Z).

    The voxels of the map add up to the difference of the groups' mean scores. (The mean over all
    people would be about 0, as the baseline is the mean of the training people.)

    Parameters
    ----------
    attributions : ndarray of float32, shape (N, C, X, Y, Z)
        See `integrated_gradients`.
    labels : ndarray of int, shape (N,)
        0 or 1.
    """
    positive = attributions[labels == 1].mean(0, dtype=np.float64)
    negative = attributions[labels == 0].mean(0, dtype=np.float64)
    return np.asarray(positive - negative, dtype=np.float32)


def occlusion(network: ScoreNetwork, inputs: FloatArray, regions: Regions) -> FloatArray:
    """Tell what each person's score loses where a region is set to the mean of the training people.

    Parameters
    ----------
    network : ScoreNetwork
    inputs : ndarray of float32, shape (N, C, X, Y, Z)
        Prepared scans.
    regions : ndarray of int, shape (X, Y, Z)
        Number of each voxel's region; 0 for none. All contrasts of a region are set.

    Returns
    -------
    ndarray of float32, shape (N, R)
        Score less the score without the region, regions in the order of their numbers; positive
        where the region speaks for the positive class.
    """
    numbers, first, dense = np.unique(regions, return_index=True, return_inverse=True)
    dense, is_region = dense.reshape(regions.shape), numbers != 0
    added = _added_up(network, inputs, dense, len(numbers))
    if added is not None:
        return added[:, is_region]
    from captum.attr import FeatureAblation

    device, parts = device_of(network), []
    mask = torch.from_numpy(dense).to(device)[None, None]
    with frozen(network), torch.no_grad():
        method = FeatureAblation(network)
        for batch in torch.split(torch.from_numpy(inputs), BATCH):
            lost = method.attribute(batch.to(device), feature_mask=mask)
            parts.append(lost[:, 0].flatten(1)[:, first[is_region]].cpu().numpy())
    return np.asarray(np.concatenate(parts), dtype=np.float32)


def _added_up(
    network: ScoreNetwork, inputs: FloatArray, dense: Regions, n_regions: int
) -> FloatArray | None:
    """Add gradients times inputs up by region, (N, R), which is what scores lose if linear.

    None where it isn't, as the loss of random halves of the regions shows.
    """
    try:
        each = integrated_gradients(network, inputs, n_steps=1).sum(1).reshape(len(inputs), -1)
    except FmnetError:
        return None
    flat = dense.ravel()
    added = np.stack([np.bincount(flat, one, minlength=n_regions) for one in each])
    rng = np.random.default_rng(0)
    with frozen(network):
        scores = predict_scores(network, inputs)
        for number in range(1 + N_HALVES):
            is_off = rng.permutation(n_regions) < n_regions / (2 if number else 1)
            kept = np.where(is_off[dense], np.float32(0), inputs)
            lost = scores - predict_scores(network, kept)
            missed = np.abs(added[:, is_off].sum(1) - lost).max()
            if missed > ROUNDING * max(np.abs(lost).mean(), np.abs(scores).mean()):
                return None
    return added.astype(np.float32)


def region_curve(
    network: ScoreNetwork, inputs: FloatArray, region: NDArray[np.bool_], factors: ArrayLike
) -> FloatArray:
    """Score each person as if a region's mean value were so and so large.

    The person's region is shifted as a whole, so that its mean over voxels comes to `factors`
    standard deviations of the people's means from their mean; its pattern stays, missing voxels
    too. Each contrast is shifted by its own.

    Parameters
    ----------
    network : ScoreNetwork
    inputs : ndarray of float32, shape (N, C, X, Y, Z)
        Prepared scans.
    region : ndarray of bool, shape (X, Y, Z) or (C, X, Y, Z)
        Which voxels; of which contrasts, if they are told apart.
    factors : array-like of float, shape (F,)
        In standard deviations of the people.

    Returns
    -------
    ndarray of float32, shape (N, F)
        Scores.
    """
    inside = np.broadcast_to(region, inputs.shape[1:])
    known = (inputs != 0) & inside  # (N, C, X, Y, Z)
    count = np.maximum(known.sum((2, 3, 4)), 1)
    means = np.where(known, inputs, 0).sum((2, 3, 4)) / count  # (N, C)
    curves = []
    with frozen(network):
        for factor in np.asarray(factors, dtype=float):
            wanted = means.mean(0) + factor * means.std(0)
            shift = (wanted - means)[..., None, None, None] * known
            curves.append(predict_scores(network, (inputs + shift).astype(np.float32)))
    return np.stack(curves, axis=1)
