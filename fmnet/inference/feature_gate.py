"""The gate of the network's features: how far a new scan lies from the training people.

The distance is Mahalanobis's, with the shrunken covariance of Ledoit and Wolf (2004), in units of
the distance of a usual new person. What is usual is seen on people who were left out, of the
covariance and of whatever else the features were learned from: those that were learned from lie
closer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fmnet.errors import Fault
from fmnet.inference.bundle_files import COUNT, FRACTION, POSITIVE, optional, refuse
from fmnet.inference.onnx_network import MAX_FEATURES
from fmnet.inference.quality import Reading

Floats = NDArray[np.float64]
#: Name of the gate, and what its distance is in.
GATE, UNIT = "network features", "times the usual distance"
#: Fraction of new people like those of training who fail the gate: a small part of the one in
#: twenty that all gates may fail together.
FALSE_ALARMS = 0.005
#: Fewest people whose spread says anything about how far others lie.
FEWEST = 10
#: A feature whose standard deviation is smaller is the same in all scans.
LEAST_SD = 1e-6
#: What is written of it, as numbers and as arrays.
KEY = "features"
NUMBERS = {
    "rest": POSITIVE, "usual": POSITIVE, "high": POSITIVE, "false_alarms": FRACTION,
    "n_people": COUNT,
}  # fmt: skip
#: The numbers as fields of a file that may be without them.
FIELDS = {f"{KEY}.{name}": optional(kind) for name, kind in NUMBERS.items()}
ARRAYS = ("mean", "scale", "axes", "variances")
#: Largest number in the arrays, whose square float64 still holds.
MAX_ARRAY = 1e9
ACTION = "check which contrast, statistic and preprocessing the scan has, and look at it"


@dataclass(frozen=True, eq=False)
class FeatureGate:
    """What scans of the training people are like, and how far from them others may lie.

    Parameters
    ----------
    mean, scale : ndarray of float, shape (F,)
        Of the features; the scale is 0 for those that don't vary.
    axes : ndarray of float, shape (R, F)
        Principal axes of the standardised features.
    variances : ndarray of float, shape (R,)
        Along them, shrunken.
    rest : float
        The variance along all other axes.
    usual : float
        Distance that half of new people exceed, in standard deviations.
    high : float
        Largest distance that passes, in units of the usual one.
    false_alarms : float
        Fraction of people like those of training who lie further away: of the training people, as
        many as do when left out, and one more.
    n_people : int
        Whose scans were learned from.
    """

    mean: Floats
    scale: Floats
    axes: Floats
    variances: Floats
    rest: float
    usual: float
    high: float
    false_alarms: float
    n_people: int

    def distances(self, features: NDArray[Any]) -> Floats:
        """Compute how far scans, (N, F), lie from the training people: (N,), 1 is usual."""
        with np.errstate(all="ignore"):  # of a network that gives what can't be computed with
            z = (np.asarray(features, dtype=np.float64) - self.mean) * self.scale
            along = (z @ self.axes.T) ** 2
            apart = (z**2).sum(axis=1) / self.rest + along @ (1 / self.variances - 1 / self.rest)
            distances: Floats = np.sqrt(np.maximum(apart, 0)) / self.usual
        return distances

    def to_json(self) -> dict[str, Any]:
        """Give its numbers, as `read_feature_gate` reads them."""
        return {name: getattr(self, name) for name in NUMBERS}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Give its arrays, by the names that they have in a file of several gates."""
        return {f"{KEY} {name}": getattr(self, name).astype(np.float32) for name in ARRAYS}

    def read(self, features: NDArray[Any], name: str) -> Reading:
        """Read the gate for the features of one scan, (F,)."""
        distance = float(self.distances(features[None])[0])
        fault = None
        if not distance <= self.high:
            found = f"a scan that lies {distance:.3g} {UNIT} from the training people"
            accepted = f"at most {self.high:.3g} times, by the features of the network"
            fault = Fault(name, found, accepted, ACTION)
        shown = distance if np.isfinite(distance) else None
        return Reading(GATE, shown, None, self.high, UNIT, self.false_alarms, fault)


def fit_features(
    features: NDArray[Any],
    people: Sequence[str],
    unseen: Floats | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> FeatureGate | None:
    """Fit the gate to scans of training people; None for fewer than `FEWEST` people.

    Parameters
    ----------
    features : ndarray of float, shape (N, F)
        Of each scan.
    people : sequence of str
        Whose scan it is.
    unseen : ndarray of float, shape (N,), optional
        How far each scan lies from the others, in standard deviations, where neither its person nor
        anything fitted to it had a part in the features, see `distances_left_out`. By default
        people are left out of the covariance alone, as suits features that nobody was needed for.
    false_alarms : float
        Fraction of new people who are meant to fail it.
    """
    names = np.asarray(people)
    if (n_people := len(set(people))) < FEWEST:
        return None
    if unseen is None:
        unseen = np.empty(len(names))
        for person in np.unique(names):
            own = names == person
            unseen[own] = distances_left_out(features[~own], features[own])
    # nearly normal: sums of many squares, and of unequal people, are positive and skewed
    logs = np.log(np.maximum(unseen, np.finfo(float).tiny))
    n_beyond = sum(
        bool(logs[names == one].max() > sum(_middle_and_reach(logs, names, false_alarms, one)))
        for one in np.unique(names)
    )
    middle, reach = _middle_and_reach(logs, names, false_alarms)
    return FeatureGate(
        *_fit_covariance(features),
        usual=float(np.exp(middle)),
        high=float(np.exp(reach)),
        false_alarms=float((n_beyond + 1) / (n_people + 1)),
        n_people=n_people,
    )


def _middle_and_reach(
    logs: Floats, names: NDArray[Any], false_alarms: float, left_out: str | None = None
) -> tuple[float, float]:
    """Mean over people, and how far above it all but a fraction of further people lie."""
    is_used = names != left_out if left_out is not None else np.ones(len(names), dtype=bool)
    used = logs[is_used]
    _, number, counts = np.unique(names[is_used], return_inverse=True, return_counts=True)
    weights = 1 / counts[number] / len(counts)  # whoever has many scans counts once
    n_people, middle = len(counts), float(weights @ used)
    spread = np.sqrt(weights @ (used - middle) ** 2 * n_people / (n_people - 1))
    # of one further person, where mean and spread are known from so many
    reach = stdtrit(n_people - 1, 1 - false_alarms) * np.sqrt(1 + 1 / n_people)
    return middle, float(reach * spread)


def read_feature_gate(
    fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], folder: Path
) -> FeatureGate | None:
    """Make the gate of what was written of it; None where there is none.

    Parameters
    ----------
    fields : dict
        Of a file, whose `FIELDS` are of the right kind, or missing.
    arrays : dict of ndarray
        See `FeatureGate.arrays`.
    folder : Path
        Where they were read, for messages.

    Raises
    ------
    BundleError
        If something is missing, or arrays are none that belong together.
    """
    numbers = fields.get(KEY)
    if numbers is None:
        return None
    lacking = [name for name in NUMBERS if numbers.get(name) is None]
    lacking += [f"{KEY} {name}" for name in ARRAYS if f"{KEY} {name}" not in arrays]
    if lacking:
        raise refuse(folder, f"a gate of features without '{lacking[0]}'")
    mean, scale, axes, variances = (arrays[f"{KEY} {name}"] for name in ARRAYS)
    shapes = [mean.shape, scale.shape, axes.shape, variances.shape]
    (n_features,), n_axes = mean.shape or (0,), len(axes) if axes.ndim else 0
    if shapes != [(n_features,)] * 2 + [(n_axes, n_features), (n_axes,)] or not (
        n_axes <= n_features <= MAX_FEATURES
    ):
        raise refuse(folder, f"a gate of features with arrays of shapes {shapes}")
    for array in (mean, scale, axes, variances):
        if array.dtype != np.float32 or not np.abs(array).max(initial=0) <= MAX_ARRAY:
            raise refuse(folder, "a gate of features whose arrays aren't finite float32")
    if variances.min(initial=1) <= 0:
        raise refuse(folder, "a gate of features with an axis of no variance")
    own: dict[str, Any] = {name: arrays[f"{KEY} {name}"].astype(np.float64) for name in ARRAYS}
    return FeatureGate(**own, **{name: numbers[name] for name in NUMBERS})


def distances_left_out(learned: NDArray[Any], others: NDArray[Any]) -> Floats:
    """Compute how far scans, (M, F), lie from those that are learned from, (N, F): (M,)."""
    gate = FeatureGate(*_fit_covariance(learned), 1.0, np.inf, 0.0, len(learned))
    return gate.distances(others)


def _fit_covariance(features: NDArray[Any]) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Fit mean, scale, axes, their variances and that of all others, see `FeatureGate`."""
    values = np.asarray(features, dtype=np.float64)
    mean, sd = values.mean(axis=0), values.std(axis=0)
    varies = sd > LEAST_SD
    scale = np.where(varies, 1 / np.where(varies, sd, 1), 0)
    z = (values - mean) * scale
    n, n_features = len(z), max(int(varies.sum()), 1)
    _, lengths, axes = np.linalg.svd(z, full_matrices=False)
    plain = lengths**2 / n
    kept = plain > 1e-9 * max(plain.max(), 1e-30)
    plain, axes = plain[kept], axes[kept]
    # the shrinkage of Ledoit and Wolf, towards the same variance along all axes
    middle = plain.sum() / n_features
    apart = ((plain - middle) ** 2).sum() + (n_features - len(plain)) * middle**2
    noise = ((z**2).sum(axis=1) ** 2).sum() / n**2 - (plain**2).sum() / n
    shrinkage = float(min(max(noise, 0) / apart, 1)) if apart > 0 else 1.0
    middle = max(middle, 1e-12)
    variances = (1 - shrinkage) * plain + shrinkage * middle
    return mean, scale, axes, variances, float(max(shrinkage, 1e-3) * middle)
