"""Audit confounds of any target: what they say of scores and outcomes, and what is left without."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from fmnet.evaluation.audit import predicted_fraction
from fmnet.evaluation.comparison import holm

Floats = NDArray[np.float64]
#: Permutations of people.
N_PERMUTATIONS = 999
#: Fewest people with known outcomes whose scores are audited.
MIN_PEOPLE = 10
#: What is called shown.
LEVEL = 0.05


def audit_outcomes(
    scores: Floats,
    responses: Floats,
    confounds: pd.DataFrame,
    units: Sequence[str] | None = None,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
) -> dict[str, Any]:
    """Ask whether confounds explain that scores go with outcomes.

    All is computed on ranks. Permutations that test whether scores go with outcomes given the
    confounds are those of Freedman and Lane: the part of the outcome that confounds don't explain
    is exchanged. Tests of a correlation are one-sided, as larger scores go with larger responses
    where a model is right.

    Parameters
    ----------
    scores : ndarray of float, shape (N, K)
        One row per person, out of fold, see `person_scores`.
    responses : ndarray of float, shape (N, K)
        The outcomes as numbers, as `fmnet.targets.base.Null` has them; NaN where not known.
    confounds : DataFrame
        N rows; numbers, or texts for categories; missing is NaN or None. Numbers that are missing
        count as the median, with an indicator.
    units : sequence of str, optional
        Who is one family, (N,): its members are averaged.
    seed : int
        Of the permutations.
    n_permutations : int
        How many.

    Returns
    -------
    dict
        ``n``; ``confounds``: name, ``score_r2``, ``score_p``, ``outcome_r2``, ``outcome_p`` and
        both p once more with ``_holm``; of all together ``score_r2``, ``score_r2_cv`` (predicted of
        other people; may be negative), ``score_p``, and the same of the ``outcome``; ``plain`` and
        ``partial``, the rank correlation ``r`` and its ``p``, without and given the confounds;
        ``passed_over``, names of confounds that don't vary; ``said``, sentences as ``text`` and
        ``severity``. Numbers are None where too little is known.

    References
    ----------
    Freedman, D., & Lane, D. (1983). A nonstochastic interpretation of reported significance levels.
    J. Bus. Econ. Stat., 1.
    Winkler, A. M., et al. (2014). Permutation inference for the general linear model. NeuroImage,
    92.
    """
    if units is not None and len(set(units)) < len(units):
        scores, responses, confounds = _by_unit(scores, responses, confounds, units)
    designs = {str(name): encode(confounds[name]) for name in confounds.columns}
    passed_over = [name for name, own in designs.items() if not own.shape[1]]
    designs = {name: own for name, own in designs.items() if own.shape[1]}
    found: dict[str, Any] = {"n": len(scores), "confounds": [], "passed_over": passed_over}
    columns = [k for k in range(scores.shape[1]) if np.isfinite(responses[:, k]).any()]
    is_enough = len(scores) >= MIN_PEOPLE and bool(columns)
    pairs = {"score": scores[:, columns], "outcome": responses[:, columns]}
    rng = np.random.default_rng(seed)
    given = np.concatenate([np.zeros((len(scores), 0)), *designs.values()], axis=1)
    for side, values in pairs.items():
        is_told = is_enough and given.shape[1] > 0
        r2, p = explained(values, given, rng, n_permutations) if is_told else (None, None)
        found |= {f"{side}_r2": r2, f"{side}_p": p}
        found[f"{side}_r2_cv"] = _predicted(values, given) if is_told else None
    if is_enough:
        nothing, (one, other) = np.zeros((len(scores), 0)), pairs.values()
        found["plain"] = partial_correlation(one, other, nothing, rng, n_permutations)
        found["partial"] = partial_correlation(one, other, given, rng, n_permutations)
        found["confounds"] = _each(pairs, designs, rng, n_permutations)
    else:
        found["plain"] = found["partial"] = {"r": None, "p": None}
    return found | {"said": _say(found, list(designs))}


def person_scores(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Standardise a model's scores within each test fold and average them by participant.

    `rows` are those of one model in an out-of-fold table; `columns` hold its scores.
    """
    folds = rows.groupby(["repeat", "fold"])
    standard = {}
    for column in columns:
        sd = folds[column].transform("std").replace(0, np.nan)
        standard[column] = ((rows[column] - folds[column].transform("mean")) / sd).fillna(0.0)
    means: pd.DataFrame = pd.DataFrame(standard).groupby(rows["participant_id"]).mean()
    return means


def encode(column: pd.Series) -> Floats:
    """Turn a confound into columns of a design, (N, F): none where it doesn't vary."""
    known = column.dropna()
    if pd.api.types.is_numeric_dtype(column):
        missing = column.isna().to_numpy(float)[:, None]
        filled = column.fillna(known.median() if len(known) else 0.0).to_numpy(float)[:, None]
        design = np.concatenate([filled, missing], axis=1)
    else:
        design = pd.get_dummies(column.fillna("missing").astype(str), dtype=float).to_numpy()
    varying = design[:, np.ptp(design, axis=0) > 0] if len(design) else design[:, :0]
    return np.asarray((varying - varying.mean(axis=0)) / np.maximum(varying.std(axis=0), 1e-12))


def explained(
    values: Floats, design: Floats, rng: np.random.Generator, n_permutations: int
) -> tuple[float | None, float | None]:
    """Compute the fraction of the variance of ranks that a design explains, and its p-value.

    Of values, (N, K), the mean over columns; people are permuted. None where nothing varies.
    """
    fractions = []
    for column in values.T:
        is_known = np.isfinite(column)
        left = _ranks(column[is_known])
        basis = _basis(design[is_known])
        if not left.any() or not basis.shape[1]:
            continue
        orders = _orders(len(left), rng, n_permutations)
        fractions.append(((left[orders] @ basis) ** 2).sum(axis=1) / (left @ left))
    if not fractions:
        return None, None
    mean = np.mean(fractions, axis=0)
    return float(mean[0]), _p(mean)


def partial_correlation(
    scores: Floats, responses: Floats, design: Floats, rng: np.random.Generator, n_permutations: int
) -> dict[str, float | None]:
    """Correlate ranks of scores and responses, (N, K), given a design: mean over columns, and p.

    None where nothing is left of one of them.
    """
    found = []
    for score, response in zip(scores.T, responses.T, strict=True):
        is_known = np.isfinite(score) & np.isfinite(response)
        basis = _basis(design[is_known])
        one, other = (_ranks(own[is_known]) for own in (score, response))
        totals = one @ one, other @ other
        one, other = (own - basis @ (basis.T @ own) for own in (one, other))
        if any(own @ own <= 1e-9 * total for own, total in zip((one, other), totals, strict=True)):
            continue
        placed = other[_orders(len(other), rng, n_permutations)]  # (1 + D, N)
        placed = placed - placed @ basis @ basis.T
        norms = np.sqrt((placed**2).sum(axis=1) * (one @ one))
        found.append(np.divide(placed @ one, norms, out=np.zeros(len(norms)), where=norms > 0))
    if not found:
        return {"r": None, "p": None}
    mean = np.mean(found, axis=0)
    return {"r": float(mean[0]), "p": _p(mean)}


def _by_unit(
    scores: Floats, responses: Floats, confounds: pd.DataFrame, units: Sequence[str]
) -> tuple[Floats, Floats, pd.DataFrame]:
    """Average people of a family; of categories the first known is taken."""
    key = np.array(units)
    one, other = (pd.DataFrame(own).groupby(key).mean().to_numpy() for own in (scores, responses))
    numbers = [name for name in confounds if pd.api.types.is_numeric_dtype(confounds[name])]
    how = {name: "mean" if name in numbers else "first" for name in confounds.columns}
    table = confounds.reset_index(drop=True)
    return one, other, table.groupby(key).agg(how) if how else table.iloc[: len(one)]


def _each(
    pairs: dict[str, Floats],
    designs: dict[str, Floats],
    rng: np.random.Generator,
    n_permutations: int,
) -> list[dict[str, Any]]:
    """Relate every confound by itself to scores and outcomes."""
    rows: list[dict[str, Any]] = []
    for name, design in designs.items():
        row: dict[str, Any] = {"confound": name}
        for side, values in pairs.items():
            row[f"{side}_r2"], row[f"{side}_p"] = explained(values, design, rng, n_permutations)
        rows.append(row)
    for side in pairs:
        tested = [row for row in rows if row[f"{side}_p"] is not None]
        for row in rows:
            row[f"{side}_p_holm"] = None
        corrected = holm([row[f"{side}_p"] for row in tested])
        for row, p in zip(tested, corrected, strict=True):
            row[f"{side}_p_holm"] = p
    return rows


def _predicted(values: Floats, design: Floats) -> float | None:
    table = pd.DataFrame(design)
    found = []
    for column in values.T:
        is_known = np.isfinite(column)
        fraction = predicted_fraction(table[is_known], column[is_known])
        found += [] if fraction is None else [fraction]
    return float(np.mean(found)) if found else None


def _ranks(values: Floats) -> Floats:
    ranks = rankdata(values) if len(values) else values
    return np.asarray(ranks - ranks.mean() if len(ranks) else ranks)


def _basis(design: Floats) -> Floats:
    """Find an orthonormal basis, (N, R), of what a design explains besides the mean."""
    centred = design - design.mean(axis=0) if len(design) else design
    axes, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(axes[:, sizes > 1e-9 * max(float(sizes.max(initial=0.0)), 1.0)])


def _orders(n: int, rng: np.random.Generator, n_permutations: int) -> NDArray[np.intp]:
    """Draw orders of people, the first the one observed: (1 + D, n)."""
    return np.concatenate([np.arange(n)[None], rng.random((n_permutations, n)).argsort(axis=1)])


def _p(statistics: Floats) -> float:
    """Compute ``(b + 1) / (m + 1)`` of statistics, the first of which was observed."""
    return float((statistics >= statistics[0] - 1e-12).mean())


def _say(found: dict[str, Any], names: list[str]) -> list[dict[str, str]]:
    """Say in sentences what the audit found."""
    plain, partial = found["plain"], found["partial"]
    if plain["p"] is None or not names:
        text = "Too little is known to tell whether confounds explain the scores."
        return [{"text": text, "severity": "amber"}]
    all_of_them = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    said = []
    for side, what in (("score", "the scores"), ("outcome", "what is predicted")):
        text = f"Together, {all_of_them} explain {found[f'{side}_r2']:.0%} of the variance of "
        text += f"{what} (p = {found[f'{side}_p']:.3f})"
        single = [row for row in found["confounds"] if (row[f"{side}_p_holm"] or 1) < LEVEL]
        each = ", ".join(f"{row['confound']} {row[f'{side}_r2']:.0%}" for row in single)
        text += f"; by themselves: {each}." if single else "."
        said.append({"text": text, "severity": "none"})
    is_left = partial["p"] is not None and partial["p"] < LEVEL
    both = found["score_p"] < LEVEL and found["outcome_p"] < LEVEL
    if plain["p"] >= LEVEL:
        text = "Scores don't go with what is predicted to begin with (rank correlation "
        text += f"{plain['r']:.2f}, p = {plain['p']:.3f}): there is nothing to explain."
        return [*said, {"text": text, "severity": "none"}]
    if partial["p"] is None:
        text = f"Given {all_of_them}, nothing is left of the scores."
        return [*said, {"text": text, "severity": "red"}]
    figures = f"rank correlation {partial['r']:.2f} in place of {plain['r']:.2f}"
    figures += f", p = {partial['p']:.3f}"
    if is_left:
        text = f"Given {all_of_them}, scores still go with what is predicted ({figures})."
        severity = "amber" if both and partial["r"] < plain["r"] / 2 else "none"
    else:
        text = f"Given {all_of_them}, it can't be shown that scores go with what is predicted "
        text += f"({figures})"
        text += ": they may say no more than these." if both else "."
        severity = "red" if both else "amber"
    return [*said, {"text": text, "severity": severity}]
