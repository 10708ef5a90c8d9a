"""Tell how alike several scans of the same people are: reliability of scores, weights and maps."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.evaluation.icc import (
    MOST,
    MeanSquares,
    icc_agreement,
    icc_consistency,
    icc_one_way,
    mean_squares,
    needed,
)

Floats = NDArray[np.float64]

#: Fewest people with the same sessions from whom reliability is told.
FEWEST = 5
#: Reliabilities that are asked for: good, and enough to decide about a person (Koo and Li 2016).
GOALS = (0.75, 0.9)


def retest_of_scores(
    rows: pd.DataFrame,
    session_of: Mapping[str, str] | None = None,
    group: str | None = None,
    column: str = "score",
    minutes: float | None = None,
) -> dict[str, Any]:
    """Tell how alike the out-of-fold scores of the same people are in several sessions.

    Scores are compared within test folds, in units of the standard deviation there, as models of
    different folds have no common scale; mean squares are averaged over repeats.

    Parameters
    ----------
    rows : DataFrame
        Of the out-of-fold table, of one model.
    session_of : dict, optional
        Session of each scan id; by default as its name says, see `sessions_of`.
    group : str, optional
        A column of `rows` within whose values people are compared too, as patients and controls:
        a difference between groups makes people of different groups easy to tell apart.
    column : str
        Of the score.
    minutes : float, optional
        How long each session's scan lasts, or each half where the halves of a scan stand for
        sessions.

    Returns
    -------
    dict
        Plain values: ``n_people, n_sessions, sessions, left_out`` (people without all of them);
        ``reason``, why nothing is told, else empty; ``agreement`` and ``consistency`` (`Icc`);
        ``variance``, fractions ``between``, ``sessions``, ``within``;
        ``standard_error_of_measurement`` and ``smallest_detectable_change`` of one scan, in
        standard deviations of the score; ``needed`` sessions by goal; ``minutes`` as given;
        ``within_groups``, the same without the difference between groups; ``one_way``, of all
        people, where five have two scans or more.
    """
    session_of = sessions_of(rows) if session_of is None else session_of
    found = [_standard(one, session_of, column) for _, one in rows.groupby("repeat", sort=True)]
    sessions, complete, left_out = shared_sessions(found[0])
    facts: dict[str, Any] = {
        "n_people": len(complete),
        "n_sessions": len(sessions),
        "sessions": sessions,
        "left_out": left_out,
        "minutes": minutes,
        "reason": "",
    }
    if not any(one["value"].any() for one in found):
        facts["reason"] = "everybody scores alike"
        return facts
    several = found[0].groupby("participant_id").filter(lambda own: len(own) > 1)
    if several["participant_id"].nunique() >= FEWEST:
        people = found[0].groupby("participant_id")["value"]
        facts["one_way"] = asdict(icc_one_way([one.to_numpy(float) for _, one in people]))
    if len(sessions) < 2 or len(complete) < FEWEST:
        facts["reason"] = (
            f"{len(complete)} people have been scanned in the same {len(sessions)} session(s): "
            f"reliability takes {FEWEST} or more with two sessions or more"
        )
        return facts
    tables, folds, groups = [], [], []
    for one in found:
        wide = one.pivot_table(index="participant_id", columns="session", values="value")
        first = one.drop_duplicates("participant_id").set_index("participant_id").loc[complete]
        folds.append(list(first["fold"]))
        tables.append(common_scale(wide.loc[complete, sessions].to_numpy(float), folds[-1]))
        if group is not None:
            names = rows.drop_duplicates("participant_id").set_index("participant_id")[group]
            groups.append(list(zip(first["fold"], names.loc[complete], strict=True)))
    facts |= reliability(tables, folds)
    if group is not None and len(complete) - len(set(groups[0])) >= FEWEST:
        facts["within_groups"] = reliability(tables, groups)
    return facts


def reliability(
    tables: Sequence[Floats], groups: Sequence[Sequence[object] | None]
) -> dict[str, Any]:
    """Summarise how alike sessions are, of one table of values, (P, S), for each repeat.

    People are compared within `groups`; see `retest_of_scores` for what comes out.
    """
    each = [mean_squares(*pair) for pair in zip(tables, groups, strict=True)]
    first = each[0]
    mean = MeanSquares(
        np.mean([one.people for one in each], axis=0),
        np.mean([one.sessions for one in each], axis=0),
        np.mean([one.error for one in each], axis=0),
        first.n_people,
        first.n_sessions,
        min(one.df_people for one in each),
    )
    agreement, consistency = icc_agreement(mean), icc_consistency(mean)
    parts = {name: float(one) for name, one in mean.components().items()}
    total = sum(parts.values())
    sem = math.sqrt((parts["sessions"] + parts["within"]) / total) if total else math.nan
    return {
        "agreement": asdict(agreement),
        "consistency": asdict(consistency),
        "variance": {name: one / total if total else math.nan for name, one in parts.items()},
        "standard_error_of_measurement": sem,
        "smallest_detectable_change": 1.96 * math.sqrt(2) * sem,
        "needed": {f"{goal:g}": needed(agreement, goal) for goal in GOALS},
    }


def common_scale(table: Floats, folds: Sequence[object]) -> Floats:
    """Bring scores, (P, S), of people in different folds to one scale: (P, S).

    All folds are taken to have the same reliability, and a scale each. The likeliest scales weigh
    what people differ by between and within them as that reliability says; scaling by standard
    deviations instead takes most from folds in which people happen to differ most, and reliability
    comes out too small, by 0.06 for folds of ten people (by 0.03 now).
    """
    n_sessions = table.shape[1]
    names = np.array([list(dict.fromkeys(folds)).index(fold) for fold in folds])
    raw = [table[names == number] for number in range(names.max() + 1)]
    parts = [part - part.mean(axis=0) for part in raw]
    means = [part.mean(axis=1, keepdims=True) for part in parts]
    between = np.array([n_sessions * float((mean**2).sum()) for mean in means])
    within = np.array(
        [float(((part - mean) ** 2).sum()) for part, mean in zip(parts, means, strict=True)]
    )
    df_between = np.array([len(part) - 1 for part in parts], float)
    df_within = df_between * (n_sessions - 1)
    ratio, square = 1.0, np.ones(len(parts))
    for _ in range(100):
        square = (between / ratio + within) / np.maximum(df_between + df_within, 1)
        square = np.where(square > 0, square, np.inf)
        error = (within / square).sum() / max(df_within.sum(), 1)
        if error <= 0:
            break
        before, ratio = ratio, max((between / square).sum() / df_between.sum() / error, 1e-6)
        if abs(ratio - before) < 1e-9 * before:
            break
    found = np.empty(table.shape)
    for number, part in enumerate(raw):  # shifts from session to session stay
        found[names == number] = (part - part.mean()) / np.sqrt(square[number])
    return found


def sessions_of(rows: pd.DataFrame) -> dict[str, str]:
    """Name the session of each scan by its id (``ses-NAME``), or number the scans of each person.

    They are numbered if any of the names lacks a session, or a person has two scans of one.
    """
    scans = rows.drop_duplicates("scan_id")[["participant_id", "scan_id"]].astype(str)
    names = scans["scan_id"].str.extract(r"(?:^|_)ses-([A-Za-z0-9]+)", expand=False)
    twice = pd.DataFrame({"who": scans["participant_id"], "session": names}).duplicated().any()
    if names.isna().any() or twice:
        ordered = scans.sort_values("scan_id", key=lambda ids: ids.map(_natural))
        names = (ordered.groupby("participant_id").cumcount() + 1).astype(str).loc[scans.index]
    return dict(zip(scans["scan_id"], names, strict=True))


def retest_of_weights(maps: Floats) -> dict[str, float]:
    """Tell how alike weight maps are, (S, V), each learned from one session of the same people.

    Returns
    -------
    dict
        ``correlation`` over voxels, mean over pairs of sessions; ``agreement`` and ``consistency``
        over voxels. Voxels are no sample of independent ones, so that there is no interval.
    """
    squares = mean_squares(np.asarray(maps, float).T)
    pairs = np.atleast_2d(np.corrcoef(maps))[np.triu_indices(len(maps), 1)]
    return {
        "correlation": float(pairs.mean()),
        "agreement": float(squares.agreement()),
        "consistency": float(squares.consistency()),
    }


def retest_of_maps(
    maps: Floats, groups: Sequence[object] | None = None
) -> tuple[Floats, dict[str, Any]]:
    """Compute ICC(3,1) of each voxel of maps, (P, S, V), and sum it up.

    Returns
    -------
    tuple
        ICC of each voxel, (V,), NaN where a map lacks it; and plain values: ``median``,
        ``quartiles``, the fraction of voxels that is ``poor`` (below 0.4), ``fair``, ``good`` (from
        0.6) and ``excellent`` (from 0.75; Cicchetti 1994), ``n_voxels``.
    """
    known = np.isfinite(maps).all(axis=(0, 1))
    found = np.full(maps.shape[2], np.nan)
    found[known] = mean_squares(np.asarray(maps[:, :, known], float), groups).consistency()
    own = found[np.isfinite(found)]
    if not len(own):
        return found, {"n_voxels": 0}
    edges = dict(zip(("poor", "fair", "good", "excellent"), (-np.inf, 0.4, 0.6, 0.75), strict=True))
    above = [float((own >= edge).mean()) for edge in edges.values()] + [0.0]
    return found, {
        "n_voxels": len(own),
        "median": float(np.median(own)),
        "quartiles": [float(one) for one in np.quantile(own, [0.25, 0.75])],
        **{name: above[n] - above[n + 1] for n, name in enumerate(edges)},
    }


def retest_sentences(facts: Mapping[str, Any], goal: float = 0.75) -> list[str]:
    """Say what `retest_of_scores` found."""
    if facts["reason"]:
        return [f"How well scores repeat is not told: {facts['reason']}."]
    one, share = facts["agreement"], facts["variance"]
    said = [
        f"In {facts['n_people']} people scanned in {facts['n_sessions']} sessions the score "
        f"repeated with {one['kind']} {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]: "
        f"{share['between']:.0%} of its variance lies between people, {share['within']:.0%} within "
        f"them, and {share['sessions']:.0%} is shifts of all from session to session."
    ]
    said.append(_said_needed(facts["needed"][f"{goal:g}"], facts["minutes"], goal))
    if facts["left_out"]:
        n = len(facts["left_out"])
        said.append(f"People without all of these sessions are not counted: {n}.")
    return said


def _said_needed(asked: Mapping[str, float | None], minutes: float | None, goal: float) -> str:
    def say(factor: float | None, unit: float) -> str:
        if factor is None:
            return f"more than {MOST * unit:g}"
        return f"{max(1, math.ceil(factor - 1e-9)) if minutes is None else factor * unit:.0f}"

    unit, what = (1.0, "sessions") if minutes is None else (minutes, "minutes of scanning")
    if asked["factor"] is None:
        return f"No number of {what} is known to reach a reliability of {goal:g}."
    value, low, high = (say(asked[name], unit) for name in ("factor", "low", "high"))
    return f"A reliability of {goal:g} would take {value} {what} [{low}, {high}]."


def _standard(rows: pd.DataFrame, session_of: Mapping[str, str], column: str) -> pd.DataFrame:
    """Centre and scale the scores of a repeat within each test fold."""
    folds = rows.groupby("fold")[column]
    spread = folds.transform("std", ddof=0).replace(0, np.nan)
    value = ((rows[column] - folds.transform("mean")) / spread).fillna(0.0)
    session = [session_of[str(scan)] for scan in rows["scan_id"]]
    return rows[["participant_id", "fold"]].assign(session=session, value=value)


def shared_sessions(scans: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Find the sessions to compare: of all sets that somebody has, that with most scans.

    Only scans of people who have the whole set count.

    Parameters
    ----------
    scans : DataFrame
        ``participant_id`` and ``session`` of each.

    Returns
    -------
    tuple of list
        Names of the sessions, of the people who have all of them, and of all others.
    """
    held: dict[str, set[str]] = defaultdict(set)
    for person, session in zip(scans["participant_id"], scans["session"], strict=True):
        held[str(person)].add(str(session))

    def count(option: frozenset[str]) -> tuple[int, int]:
        n = sum(option <= one for one in held.values())
        return (n * len(option) if len(option) > 1 else 0), n

    options = {frozenset(one) for one in held.values()}
    best = max(sorted(options, key=sorted), key=count)
    complete = sorted(person for person, one in held.items() if best <= one)
    return sorted(best, key=_natural), complete, sorted(set(held) - set(complete))


def _natural(text: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", str(text))
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
