"""Test a pipeline for leaks: nothing that is learned may change with the test scans."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.baselines.base import Model, score_fold
from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.data.cohort import relabel
from fmnet.data.covariates import covariate_numbers
from fmnet.data.folds import Fold
from fmnet.data.outcomes import with_outcomes
from fmnet.data.scans import Series
from fmnet.data.tables import subject_key
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, LeakError
from fmnet.training.fit import FoldTask, Trainable, train_on_folds
from fmnet.training.scan_set import ScanSet

#: Part of the seed of the noise that test scans are replaced by.
POISON = 5_000_000
#: How much larger than the scans the noise is: what leaks has to show.
LOUDNESS = 10.0
#: How much more than with the same scans a network's scores change where something leaks.
NOISE_FACTOR = 10.0
#: Largest difference that rounding may make, relative to the values compared.
TOLERANCE = 1e-5


def check_leaks(
    baselines: Mapping[str, Model],
    scans: ScanSet,
    fold: Fold,
    seed: int,
    trainable: Trainable | None = None,
) -> None:
    """Spoil half of a fold's test subjects, and see that nothing else changes.

    Their maps and time series are replaced by noise, their numbers in the participants table by
    others, and the labels of all test subjects are swapped; of targets other than two groups all
    get the outcome of one training subject. Whatever was learned from training subjects alone
    prepares and scores the other half of the test subjects as before.

    `baselines` are those that the cohort has what they need for. The network, if it is given, and
    then further networks among the baselines, are fitted in closed form or trained for one epoch.

    Raises
    ------
    LeakError
        Naming every part that changed.
    """
    spoilt, kept = _spoil(scans, fold, np.random.default_rng([seed, POISON]))
    train = scans.rows(fold.train)
    rows = np.concatenate([train, kept])

    def prepared(one: ScanSet) -> NDArray[Any]:
        fitted = one.fit(train)
        return np.concatenate([fitted.inputs(np.array([row])).ravel() for row in rows])

    faults = []
    further = {name: one for name, one in baselines.items() if isinstance(one, TrainedNetwork)}
    if not _is_same(prepared(scans), prepared(spoilt)):
        faults.append(_leak("the preparation"))
    # the scores of networks would change with the preparation
    elif trainable is not None:
        networks = {"the network": TrainedNetwork(trainable, seed)}
        networks |= {f"network '{name}'": one for name, one in further.items()}
        leaking = [n for n, one in networks.items() if _leaks(one, scans, spoilt, fold, kept)]
        faults += map(_leak, leaking)
    for name, baseline in baselines.items():
        if name in further:
            continue
        before = _scores_of(baseline, scans, fold, kept)
        if _are_same(before, _scores_of(baseline, spoilt, fold, kept)):
            continue
        if _are_same(before, _scores_of(baseline, scans, fold, kept)):
            faults.append(_leak(f"baseline '{name}'"))
            continue
        found, accepted = "other scores each time it is fitted", "the same scores for the same data"
        action = f"fix its random numbers, for instance baselines.{name}.estimator.random_state=0"
        faults.append(Fault(f"baseline '{name}'", found, accepted, action))
    if faults:
        raise LeakError(faults)


def _scores_of(
    model: Model, scans: ScanSet, fold: Fold, rows: NDArray[np.intp]
) -> list[NDArray[Any]]:
    """Let a model learn, and take all it says of these test scans."""
    found, is_kept = score_fold(model, scans, fold), np.isin(scans.rows(fold.test), rows)
    said = [found.score, found.probability, *found.outputs.values()]
    return [np.nan_to_num(own[is_kept]) for own in said]


def _leaks(
    network: TrainedNetwork, scans: ScanSet, spoilt: ScanSet, fold: Fold, rows: NDArray[np.intp]
) -> bool:
    """Tell whether a network scores these test scans otherwise where others are spoilt."""
    quiet = network.quiet().trainable
    short = replace(quiet, max_epochs=min(1, quiet.longest))

    def scores(one: ScanSet) -> NDArray[Any]:
        task = FoldTask(network.own_scans(one), fold, 0, "of the leak test")
        (trained,) = train_on_folds(short, [task], is_calibrated=False)
        return trained.scores(rows)

    before, after = scores(scans), scores(spoilt)
    if _is_same(before, after):
        return False
    noise = np.abs(scores(scans) - before).max()  # some devices round otherwise each time
    return bool(np.abs(after - before).max() > NOISE_FACTOR * noise)


def _spoil(data: ScanSet, fold: Fold, rng: np.random.Generator) -> tuple[ScanSet, NDArray[np.intp]]:
    """Spoil every other test subject; return also the rows of those that are left whole."""
    participants = set(sorted(fold.test)[::2])
    test = data.rows(fold.test)
    chosen = data.rows(tuple(participants))
    if data.target is None:
        labels = data.labels.copy()
        labels[test] = 1 - labels[test]
        scans = relabel(data.cohort, labels).scans
    else:  # the most extreme, so that whatever is learned of all would change
        train, order = data.rows(fold.train), np.arange(len(data.participant_ids))
        order[test] = train[np.nanargmax(data.learned(train)[:, 0])]
        scans = with_outcomes(data.cohort, data.outcomes.take(order)).scans
    table = _other_numbers(data.cohort.listing.participants, participants)
    listing = replace(data.cohort.listing, participants=table)
    cohort = replace(data.cohort, scans=scans, listing=listing)
    values, series = data.values.copy(), list(data.series)
    scale = LOUDNESS * float(np.nanstd(values))
    noise = rng.normal(0, scale, (len(chosen), *values.shape[1:])).astype(np.float32)
    noise[rng.random(noise.shape) < 0.2] = np.nan
    values[chosen] = noise
    if series:
        for row, seed in zip(chosen, rng.integers(2**31, size=len(chosen)), strict=True):
            one = series[row]
            series[row] = NoisySeries(one.paths, one.lengths, one.t_r, int(seed))
    return data.replace(cohort, values, tuple(series) or None), np.setdiff1d(test, chosen)


@dataclass(frozen=True, eq=False)
class NoisySeries(Series):
    """Loud noise in the place of a scan's time series."""

    seed: int = 0

    def values(self) -> FloatArray:
        """Draw the noise: (T, V) float32, NaN where the scan has no data."""
        real = super().values()
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal(real.shape, dtype=np.float32)
        noise *= LOUDNESS * float(np.nanstd(real))
        noise[np.isnan(real)] = np.nan
        return noise


def _other_numbers(table: pd.DataFrame, participants: set[str]) -> pd.DataFrame:
    keys = {subject_key(participant) for participant in participants}
    rows = table["participant_id"].map(subject_key).isin(keys)
    changed = table.copy()
    for name in table.columns.drop("participant_id"):
        found = covariate_numbers(table[name], str(name))
        if found.is_number.any() and not found.is_wrong.any():
            changed.loc[rows, name] = [f"{x:g}" for x in 1000 + 7 * np.arange(rows.sum())]
    return changed


def _are_same(some: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    return all(_is_same(*pair) for pair in zip(some, others, strict=True))


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    scale = float(np.abs(one).max(initial=0.0)) or 1.0
    return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE * scale))


def _leak(what: str) -> Fault:
    return Fault(
        what,
        "something that changes for some test subjects when others are changed",
        "what is learned from training subjects alone",
        "fit it on the rows named as training rows",
    )
