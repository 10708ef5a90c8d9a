"""Figures of studies of any target, with intervals and differences, from out-of-fold tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from fmnet.evaluation.comparison import corrected_t_test, holm
from fmnet.evaluation.metrics import training_variance
from fmnet.types import ModelKind

Floats = NDArray[np.float64]
#: Rows of one model to its figures, as `fmnet.targets.base.Target.figures`.
Figures = Callable[[pd.DataFrame], Mapping[str, float]]
#: Rows of one model to plain values, as `fmnet.targets.base.Target.details`.
Details = Callable[[pd.DataFrame], Mapping[str, Any]]

#: Names that people drawn several times get anew: each copy is somebody else.
NAMES = ("participant_id", "unit", "scan_id")
#: Fewest bootstrap draws in which a figure is known for it to have an interval.
MIN_DRAWS = 20
#: Draws are at least so many, however many repeats share the work.
LEAST_DRAWS = 100


def evaluate_outcomes(
    table: pd.DataFrame,
    studied: str,
    kinds: Mapping[str, ModelKind],
    figures: Figures,
    details: Details,
    primary: Mapping[str, Any],
    seed: int,
    n_bootstrap: int = 500,
) -> dict[str, Any]:
    """Compute the figures of a study of any target from its out-of-fold table.

    Figures are computed repeat by repeat and averaged. Intervals come from a bootstrap of people,
    or families, with all their scans and repeats; those who are drawn several times count as so
    many people. They are widened by `narrowness`, and that of the primary figure as well by what
    other training people would add: `fmnet.evaluation.metrics.training_variance`, in units of the
    variance of one repeat, as more repeats don't lessen it. See `compare` for differences between
    models.

    Parameters
    ----------
    table : DataFrame
        One row per scan, repeat and model, see `fmnet.targets.base.Target.figures`, and ``model``;
        perhaps ``unit``, see `add_outcome_units`.
    studied : str
        The model that the study is about; it is compared with all others.
    kinds : dict
        What each model is.
    figures, details : callable
        Of the rows of one model, see `fmnet.targets.base.Target`.
    primary : dict
        ``name``, ``title`` and ``chance`` of the figure that the study is about.
    seed : int
        Of the bootstrap; all models get the same draws.
    n_bootstrap : int
        Draws asked for, see `count_draws`.

    Returns
    -------
    dict
        ``studied``, ``kinds`` and ``primary`` as given; ``n_subjects``, ``n_units``, ``n_scans``,
        ``n_repeats`` and ``n_bootstrap``, the draws made; ``models``: of each its figures, with
        ``<name>_ci`` for each, None where it can't be told, and ``<primary>_by_repeat``;
        ``comparisons``, see `compare`; ``details`` of each model.
    """
    if "unit" not in table:
        table = table.assign(unit=table["participant_id"])
    name, names = str(primary["name"]), list(dict.fromkeys(map(str, table["model"])))
    by_model = {one: table[table["model"] == one] for one in names}
    rows = by_model[studied]
    n_repeats = int(rows["repeat"].nunique())
    n_draws = count_draws(n_bootstrap, n_repeats)
    units = np.array(sorted(set(rows["unit"])))
    factor = narrowness(len(units), int(rows.groupby("repeat")["fold"].nunique().max()))
    drawn = np.random.default_rng(seed).integers(0, len(units), (n_draws, len(units)))
    found: dict[str, Any] = {
        "studied": studied,
        "kinds": dict(kinds),
        "primary": dict(primary),
        "n_subjects": int(rows["participant_id"].nunique()),
        "n_units": len(units),
        "n_scans": int(rows["scan_id"].nunique()),
        "n_repeats": n_repeats,
        "n_bootstrap": n_draws,
    }
    values = {one: _pseudo_values(own, figures, name) for one, own in by_model.items()}
    models, draws = {}, {}
    for one, own in by_model.items():
        repeats = [_Draws(part, units) for _, part in own.groupby("repeat", sort=True)]
        each = pd.DataFrame([figures(part.rows) for part in repeats])
        apart = [pd.DataFrame(list(part.figures(figures, drawn))) for part in repeats]
        again = sum(apart[1:], apart[0]) / len(apart)  # NaN where one of them isn't known
        scale, sd = scale_of(float(each[name].mean()), float(primary["chance"])), again[name].std()
        by_training = 1.0
        if sd > 0:
            of_one = float(np.mean([part[name].var() for part in apart]))
            added = max(of_one / sd**2, 1.0) * training_variance(scale)
            se = _resampled(values[one]["value"], values[one], len(units), scale)["se"]
            by_training = max(float(np.sqrt(1 + added)), (se or 0.0) / sd)
        models[one] = _with_intervals(each.mean(), again, name, factor, factor * by_training)
        models[one][f"{name}_by_repeat"] = [_number(value) for value in each[name]]
        draws[one] = again[name].to_numpy(float)
    found["models"] = models
    found["comparisons"] = compare(values, studied, primary, models, draws, len(units))
    found["details"] = {one: plain_values(dict(details(own))) for one, own in by_model.items()}
    return found


def count_draws(n_bootstrap: int, n_repeats: int) -> int:
    """Count the draws that take no longer than those asked for of two repeats.

    At least `LEAST_DRAWS`, if as many were asked for: those tell a standard error to 7 %.
    """
    return max(min(LEAST_DRAWS, n_bootstrap), n_bootstrap * 2 // max(n_repeats, 2))


def add_outcome_units(
    table: pd.DataFrame, unit_of: Mapping[str, str], site_of: Mapping[str, str]
) -> pd.DataFrame:
    """Add to an out-of-fold table what a bootstrap draws as one, ``unit``, and the ``site``."""
    people = table["participant_id"]
    units = [unit_of[person] for person in people]
    return table.assign(unit=units, site=[site_of.get(person, "") for person in people])


def compare(
    values: Mapping[str, pd.DataFrame],
    studied: str,
    primary: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    draws: Mapping[str, Floats],
    n_units: int,
) -> list[dict[str, Any]]:
    """Test by how much the model studied differs from each other in the primary figure.

    A paired bootstrap of people leaves trained models as they are, so that it doesn't see what
    other training people would change, and finds too many differences. A resampled t-test over
    folds and repeats does, corrected for the training people that folds share, see
    `fmnet.evaluation.comparison.corrected_t_test`; but few folds tell a variance poorly. The larger
    p of the two is taken, and the interval that holds both.

    What the t-test sees of a fold are pseudo-values: the figure times the number of folds, less
    that of all other folds together times one less. They average to the figure that is stated, also
    where it can't be told from one fold alone.

    Returns
    -------
    list of dict
        ``model``, ``rival``, ``difference``, ``ci``, ``p``, ``p_bootstrap``, ``p_folds`` and
        ``p_holm``, corrected for all rivals. None where a difference, or its variance, isn't known.
    """
    name, chance = str(primary["name"]), float(primary["chance"])
    found = []
    for rival in values:
        if rival == studied:
            continue
        own, other = models[studied][name], models[rival][name]
        row: dict[str, Any] = {"model": studied, "rival": rival, "difference": None, "ci": None}
        row |= {"p": None, "p_bootstrap": None, "p_folds": None}
        found.append(row)
        if own is None or other is None:
            continue
        row["difference"] = difference = own - other
        drawn = draws[studied] - draws[rival]
        spread = drawn[np.isfinite(drawn)]
        tests = []
        if len(spread) >= MIN_DRAWS:
            tests.append(("p_bootstrap", float(spread.std(ddof=1)), float(n_units - 1)))
        gaps = values[studied]["value"] - values[rival]["value"]
        scale = scale_of((own + other) / 2, chance)
        resampled = _resampled(gaps, values[studied], n_units, scale)
        if resampled["se"] is not None:
            tests.append(("p_folds", float(resampled["se"]), float(resampled["df"])))
        edges = []
        for test, se, df in tests:
            row[test] = float(2 * student.sf(abs(difference) / se, df)) if se > 0 else 1.0
            half = float(student.ppf(0.975, df)) * se
            edges += [difference - half, difference + half]
        if tests:
            row["p"] = max(row[test] for test, _, _ in tests)
            row["ci"] = [min(edges), max(edges)]
    tested = [row for row in found if row["p"] is not None]
    for row in found:
        row["p_holm"] = None
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return found


def widened(interval: Sequence[float], value: float, factor: float) -> list[float]:
    """Move the ends of an interval away from its value by a factor."""
    return [value + factor * (edge - value) for edge in interval]


def narrowness(n_units: int, n_folds: int) -> float:
    """Say by how much bootstrap percentiles of few people are too narrow, as a factor.

    A draw varies around its own mean, so that a variance of n people is too small by 1/n; where
    people are compared within folds, n are those of a fold. And percentiles are those of a normal
    distribution where Student's t would be due.

    References
    ----------
    Hesterberg, T. C. (2015). What teachers should know about the bootstrap. Am. Stat., 69.
    """
    df = n_units - n_folds
    if df < 1:
        return 1.0
    return float(np.sqrt(n_units / df) * student.ppf(0.975, df) / norm.ppf(0.975))


def scale_of(value: float, chance: float) -> float:
    """Put a figure that is 1 at best on the scale of an AUC, from 0.5 for chance to 1.

    Those below chance count as chance, and so do figures without a best value, which may be above
    1: training is then taken to change as much as it ever does.
    """
    if not chance < value <= 1:
        return 0.5
    return 0.5 + 0.5 * (value - chance) / (1 - chance)


class _Draws:
    """The rows of one model and repeat, ready to be drawn by unit many times."""

    def __init__(self, rows: pd.DataFrame, units: NDArray[Any]) -> None:
        self.rows = rows
        self._columns = {str(name): rows[name].to_numpy() for name in rows.columns}
        codes = np.searchsorted(units, rows["unit"].to_numpy())
        self._rows_of = [np.flatnonzero(codes == number) for number in range(len(units))]
        self._copies: list[dict[str, NDArray[Any]]] = []

    def figures(self, figures: Figures, drawn: NDArray[np.intp]) -> Iterator[Mapping[str, float]]:
        """Compute figures for each draw of units, (D, U)."""
        for units in drawn:
            order = np.sort(units)
            # the so many-th time that each unit stands in the draw
            copy = np.arange(len(order)) - np.searchsorted(order, order)
            rows = [self._rows_of[unit] for unit in order]
            chosen = np.concatenate(rows)
            times = np.repeat(copy, [len(own) for own in rows])
            columns = {name: values[chosen] for name, values in self._columns.items()}
            for number in range(1, int(times.max(initial=0)) + 1):
                again = times == number
                for name in NAMES:
                    columns[name][again] = self._names(number)[name][chosen[again]]
            yield figures(pd.DataFrame(columns))

    def _names(self, number: int) -> dict[str, NDArray[Any]]:
        """Name everybody for the so many-th time."""
        while len(self._copies) < number:
            suffix = f" ({len(self._copies) + 2})"
            own = {
                name: np.array([f"{one}{suffix}" for one in self._columns[name]], dtype=object)
                for name in NAMES
            }
            self._copies.append(own)
        return self._copies[number - 1]


def _with_intervals(
    values: pd.Series, again: pd.DataFrame, primary: str, factor: float, of_primary: float
) -> dict[str, Any]:
    """Add the interval of each figure, widened by a factor, which is another for the primary."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        drawn = again[name].to_numpy(float)
        known = drawn[np.isfinite(drawn)]
        found[str(name)], interval = _number(value), None
        if np.isfinite(value) and len(known) >= MIN_DRAWS:
            low, high = (float(edge) for edge in np.quantile(known, [0.025, 0.975]))
            # resampled people lie about other values where ties or small folds matter
            interval = [min(low, float(value)), max(high, float(value))]
            own = of_primary if name == primary else factor
            interval = widened(interval, float(value), own)
            if known.max() <= 1:  # as of whatever is 1 at best
                interval[1] = min(interval[1], 1.0)
            if known.min() >= 0 and name != primary:  # as of errors and fractions
                interval[0] = max(interval[0], 0.0)
        found[f"{name}_ci"] = interval
    return found


def _resampled(
    differences: pd.Series, values: pd.DataFrame, n_units: int, scale: float
) -> dict[str, Any]:
    """Test pseudo-values of folds, or their differences, against 0: ``se`` and ``df``."""
    n_test = values["n_test"]
    ratio = float((n_test / (n_units - n_test).replace(0, np.nan)).mean())
    repeats = values.index.get_level_values("repeat").to_numpy()
    return corrected_t_test(differences.to_numpy(float), ratio, None, repeats, scale)


def _pseudo_values(rows: pd.DataFrame, figures: Figures, name: str) -> pd.DataFrame:
    """Compute jackknife pseudo-values of folds: ``value`` and ``n_test``, by repeat and fold."""
    found = []
    for repeat, own in rows.groupby("repeat", sort=True):
        numbers = sorted(set(own["fold"]))
        whole, n = float(figures(own)[name]), len(numbers)
        for fold in numbers:
            is_fold = own["fold"] == fold
            n_test = int(own.loc[is_fold, "unit"].nunique())
            value = n * whole - (n - 1) * float(figures(own[~is_fold])[name]) if n > 1 else np.nan
            found.append({"repeat": repeat, "fold": fold, "value": value, "n_test": n_test})
    return pd.DataFrame(found).set_index(["repeat", "fold"])


def plain_values(value: Any) -> Any:
    """Put None in the place of every number in plain values that isn't finite, as JSON has none."""
    if isinstance(value, Mapping):
        return {key: plain_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(one) for one in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
