"""What several outcomes share: gains of learning them together, and a matrix of transfer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm
from scipy.stats import t as student

from fmnet.evaluation.comparison import holm, p_value
from fmnet.evaluation.metrics import auc_interval, count_pairs, draw_weights, training_variance
from fmnet.evaluation.outcome_study import Figures, evaluate_outcomes

Floats = NDArray[np.float64]

#: What the two models are called that are compared for each task.
TOGETHER, ALONE = "together", "alone"
#: Permutations of the labels, and bootstrap draws of people.
N_PERMUTATIONS, N_DRAWS = 999, 1000
#: p-values below this count.
ALPHA = 0.05


@dataclass(frozen=True)
class Task:
    """One of several tasks: how it is judged.

    Parameters
    ----------
    name : str
        Of the task.
    figures : callable
        Of the rows of one model, in the task's own words, see `fmnet.targets.base.Target.figures`.
    primary : dict
        ``name``, ``title`` and ``chance`` of the figure that it is about.
    """

    name: str
    figures: Figures
    primary: Mapping[str, Any]


def gains(
    tasks: Sequence[Task],
    together: Mapping[str, pd.DataFrame],
    alone: Mapping[str, pd.DataFrame],
    seed: int,
    n_bootstrap: int = 500,
) -> list[dict[str, Any]]:
    """Test what each task gains by being learned together with the others.

    Parameters
    ----------
    tasks : list of Task
    together, alone : dict of DataFrame
        By task, the rows of the out-of-fold table of the people it is known for: of the model of
        all tasks, and of that which learned this one alone, in the same folds.
    seed : int
        Of the bootstrap of people.
    n_bootstrap : int
        Draws, see `fmnet.evaluation.outcome_study.evaluate_outcomes`, which says how it is tested.

    Returns
    -------
    list of dict
        ``task``, ``figure`` (its title), ``together`` and ``alone`` (values), ``gain``, ``ci``,
        ``p`` and ``p_holm``, corrected for the number of tasks.
    """
    found = []
    for task in tasks:
        each = {TOGETHER: together[task.name], ALONE: alone[task.name]}
        table = pd.concat([one.assign(model=name) for name, one in each.items()])
        facts = evaluate_outcomes(
            table.reset_index(drop=True),
            TOGETHER,
            {},
            task.figures,
            lambda rows: {},  # noqa: ARG005 (nothing is drawn from them)
            task.primary,
            seed,
            n_bootstrap,
        )
        name, (row,) = str(task.primary["name"]), facts["comparisons"]
        found.append(
            {"task": task.name, "figure": task.primary["title"]}
            | {model: one[name] for model, one in facts["models"].items()}
            | {"gain": row["difference"], "ci": row["ci"], "p": row["p"], "p_holm": None}
        )
    tested = [row for row in found if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return found


def transfer_matrix(rows: pd.DataFrame, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    """Test how well what was learned for one task of two groups does in another.

    Scores are those of models of one task each, of all people of a test fold, also those whom the
    task isn't known for; nobody who was trained on is tested, whichever task they belong to. AUCs
    are over pairs of scans within test folds.

    Permuting the labels of those tested asks whether this very model tells them. Any model may, by
    luck: where two groups do differ, weights that are all noise go along with the difference a
    little, one way or the other. With two groups of 25 and much to tell, 14 % of models of
    unrelated tasks pass at 5 %. So the variance that other people to learn from would add is
    counted as well, as in the intervals, and the larger p of the two is taken.

    Parameters
    ----------
    rows : DataFrame
        One row for each scan and repeat: ``participant_id, unit, site, scan_id, repeat, fold``; by
        task ``score_TASK``, of the model of this task alone, and ``label_TASK``: 1, 0 or NaN.
    tasks : list of str
        Names.
    seed : int
        Of permutations and bootstrap.

    Returns
    -------
    dict
        ``tasks``; ``cells``: for each pair ``trained`` and ``tested``, ``auc``, ``ci``,
        ``p_permuted`` (labels within sites, families whole), ``p_trained`` (of the interval), the
        larger of them ``p``, and ``p_holm``, corrected for all pairs of different tasks; ``pairs``:
        for each two tasks the ``similarity`` of what tells them, see `similarity`, and its ``ci``;
        the ``correlation`` of scores within folds over all people and ``correlation_ci``, which
        tells of nothing shared by itself, as controls that tasks have in common make for one too;
        and the ``answer``, see `shared`.
    """
    cells: list[dict[str, Any]] = []
    for trained in tasks:
        for tested in tasks:
            own = _labelled(rows, trained, tested)
            pairs = count_pairs(own)
            auc = pairs.plain_auc()
            se = pairs.logit_se(int(own["repeat"].nunique()))
            counts = pairs.n_units()
            tests = {"p_permuted": p_value(_permuted_aucs(own, seed), auc)}
            t = float(logit(np.clip(auc, 1e-3, 1 - 1e-3))) / se if se else 0.0
            tests["p_trained"] = float(student.sf(t, max(sum(counts) - 2, 1)))
            cells.append(
                {"trained": trained, "tested": tested, "auc": auc}
                | {"ci": auc_interval(auc, se, *counts), "p": max(tests.values()), **tests}
                | {"p_holm": None}
            )
    across = [cell for cell in cells if cell["trained"] != cell["tested"]]
    for cell, p in zip(across, holm([cell["p"] for cell in across]), strict=True):
        cell["p_holm"] = p
    by_pair = {(cell["trained"], cell["tested"]): cell for cell in cells}
    found = []
    for n, one in enumerate(tasks):
        for other in tasks[n + 1 :]:
            found.append(
                {"one": one, "other": other}
                | _similarity_with_interval(rows, one, other, seed)
                | _correlation(rows, one, other, seed)
                | {"answer": shared(by_pair, one, other)}
            )
    return {"tasks": list(tasks), "cells": cells, "pairs": found}


def similarity(one: float, other: float, across: float, back: float) -> float:
    """Compute how alike what tells two tasks is, from AUCs: about the correlation of the patterns.

    With d' of an AUC, ``sqrt(2) * probit``, it is the geometric mean of d' when transferred, both
    ways, over that of the tasks' own, so that noise in the patterns takes away from both. Its sign
    is that of the sum of the transferred. NaN where a task isn't told by its own model, or without
    an error, so that nobody knows how well.
    """
    own_one, own_other, there, back_again = (
        float(norm.ppf(np.clip(auc, 1e-3, 1 - 1e-3))) for auc in (one, other, across, back)
    )
    if min(own_one, own_other) <= 0 or max(one, other) >= 1 - 1e-3:
        return np.nan
    total = there + back_again
    size = np.sqrt(max(there * back_again, 0.0)) if there * back_again > 0 else abs(total) / 2
    return float(np.sign(total) * size / np.sqrt(own_one * own_other))


def shared(cells: Mapping[tuple[str, str], Mapping[str, Any]], one: str, other: str) -> str:
    """Answer whether two tasks share what tells them.

    ``both ways``: either's model tells the other's people; ``one way``: only one does; ``not
    shown``: neither does though each tells its own; ``not told``: a task isn't told by its own
    model, so that nothing can be said of what it shares.
    """
    there, back = cells[one, other], cells[other, one]
    n_told = sum(cell["auc"] > 0.5 and cell["p_holm"] < ALPHA for cell in (there, back))
    if n_told:
        return "both ways" if n_told == 2 else "one way"
    is_own_told = all(cells[name, name]["p"] < ALPHA for name in (one, other))
    return "not shown" if is_own_told else "not told"


def shared_sentences(found: Mapping[str, Any]) -> list[str]:
    """Say what `transfer_matrix` found, pair by pair."""
    cells = {(cell["trained"], cell["tested"]): cell for cell in found["cells"]}

    def say(trained: str, tested: str) -> str:
        cell = cells[trained, tested]
        low, high = (f"{end:.2f}" if end is not None else "?" for end in cell["ci"])
        return f"AUC {cell['auc']:.2f} [{low}, {high}], p = {cell['p_holm'] or cell['p']:.3g}"

    said = []
    for pair in found["pairs"]:
        one, other = pair["one"], pair["other"]
        ways = f"{one} on {other}: {say(one, other)}; {other} on {one}: {say(other, one)}"
        alike = ""
        if pair["similarity"] is not None and pair["ci"][0] is not None:
            low, high = pair["ci"]
            alike = f" The patterns' similarity is {pair['similarity']:.2f} [{low:.2f}, {high:.2f}]"
            alike += " (1: the same, 0: nothing in common)."
        said.append(f"{_ANSWERS[pair['answer']].format(one=one, other=other)} ({ways}).{alike}")
    return said


_ANSWERS = {
    "both ways": "{one} and {other} share a signature: what was learned from either tells the "
    "people of the other from their controls",
    "one way": "{one} and {other} seem to share something, but it is shown in one direction only",
    "not shown": "No shared signature of {one} and {other} was found, although each is told by its "
    "own model",
    "not told": "Whether {one} and {other} share a signature can't be said: not both are told by "
    "their own models",
}


def _labelled(rows: pd.DataFrame, trained: str, tested: str) -> pd.DataFrame:
    """Take the rows that one task is known for, with the scores of another's model."""
    own = rows[rows[f"label_{tested}"].notna()]
    return own.assign(label=own[f"label_{tested}"].astype(int), score=own[f"score_{trained}"])


def _permuted_aucs(rows: pd.DataFrame, seed: int) -> Floats:
    """Compute the AUC under permuted labels: of families of one size, within sites."""
    scans = rows.drop_duplicates("scan_id").sort_values("scan_id").reset_index(drop=True)
    index = pd.Index(scans["scan_id"])
    n = len(scans)
    higher, met = np.zeros((2, n, n))
    for _, fold in rows.groupby(["repeat", "fold"]):
        place = index.get_indexer(fold["scan_id"])
        score = fold["score"].to_numpy(float)
        cells = np.ix_(place, place)
        higher[cells] += np.sign(score[:, None] - score[None]) / 2 + 0.5
        met[cells] += 1
    label = scans["label"].to_numpy(int)
    blocks: dict[Any, list[NDArray[np.intp]]] = defaultdict(list)
    for _, own in scans.groupby("unit", sort=True):
        site = own["site"].iloc[0] if "site" in own else ""
        blocks[site, len(own)].append(own.index.to_numpy())
    rng = np.random.default_rng([seed, n])
    drawn = np.tile(label, (N_PERMUTATIONS, 1))
    for units in blocks.values():
        places = np.stack(units)  # (units, scans of each)
        for row in drawn:
            row[places] = label[places[rng.permutation(len(places))]]
    one, other = drawn.astype(float), 1.0 - drawn
    won = np.einsum("dn,dn->d", one @ higher, other)
    return np.asarray(won / np.einsum("dn,dn->d", one @ met, other))


def _similarity_with_interval(
    rows: pd.DataFrame, one: str, other: str, seed: int
) -> dict[str, Any]:
    """Compute `similarity`, and draw people for its 95 % interval.

    It is widened as at chance, where other training people add as much variance again.
    """
    units = sorted(rows["unit"].unique())
    drawn = draw_weights(len(units), N_DRAWS, seed)
    aucs = []
    for trained, tested in ((one, one), (other, other), (one, other), (other, one)):
        own = _labelled(rows, trained, tested)
        pairs = count_pairs(own)
        scans = pd.Index(sorted(own["scan_id"].unique()))
        unit_of = own.drop_duplicates("scan_id").set_index("scan_id")["unit"].loc[scans]
        weights = drawn[:, pd.Index(units).get_indexer(unit_of)]
        aucs.append(np.r_[pairs.plain_auc(), pairs.aucs(weights)])
    every = np.array([similarity(*map(float, four)) for four in zip(*aucs, strict=True)])
    again = every[1:][np.isfinite(every[1:])]
    if not np.isfinite(every[0]) or len(again) < N_DRAWS / 2:
        return {"similarity": None, "ci": [None, None]}
    value, wider = float(every[0]), np.sqrt(1 + training_variance(0.5))
    ends = value + wider * (np.quantile(again, [0.025, 0.975]) - value)
    return {"similarity": value, "ci": [float(end) for end in ends]}


def _correlation(rows: pd.DataFrame, one: str, other: str, seed: int) -> dict[str, Any]:
    """Correlate scores of two tasks within folds, over all people, and draw people."""
    names = [f"score_{one}", f"score_{other}"]
    folds = rows.groupby(["repeat", "fold"])[names]
    x, y = ((rows[names] - folds.transform("mean")) / folds.transform("std")).to_numpy(float).T
    known = np.isfinite(x) & np.isfinite(y)
    codes, units = pd.factorize(rows["unit"])
    weights = np.vstack([np.ones(len(units)), draw_weights(len(units), N_DRAWS, seed)])
    sums = [
        weights @ np.bincount(codes[known], part[known], len(units))
        for part in (x * y, x * x, y * y)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        every = sums[0] / np.sqrt(sums[1] * sums[2])
    low, high = np.nanquantile(every[1:], [0.025, 0.975])
    return {"correlation": float(every[0]), "correlation_ci": [float(low), float(high)]}
