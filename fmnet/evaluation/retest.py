"""Tell how alike several scans of the same people are: reliability of scores, weights and maps."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import f as fisher

Floats = NDArray[np.float64]

#: Fewest people with the same sessions from whom reliability is told.
FEWEST = 5
#: Reliabilities that are asked for: good, and enough to decide about a person (Koo and Li 2016).
GOALS = (0.75, 0.9)
#: Beyond so many sessions nobody is told a number.
MOST = 1000


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """Analysis of variance of scans by person and session; of one number or of each voxel.

    Parameters
    ----------
    people, sessions, error : ndarray of float, shape (...)
        Mean squares between people, between sessions, and of what is left.
    n_people, n_sessions : int
        How many there are, n and k.
    df_people : int
        Degrees of freedom between people: n - 1, or fewer where people were compared within folds.
    """

    people: Floats
    sessions: Floats
    error: Floats
    n_people: int
    n_sessions: int
    df_people: int

    @property
    def df_error(self) -> int:
        """Degrees of freedom of what is left."""
        return (self.n_people - 1) * (self.n_sessions - 1)

    def components(self) -> dict[str, Floats]:
        """Compute the variances ``between`` people, between ``sessions``, and ``within`` people.

        They are not negative: an estimate below 0 is 0.
        """
        between = (self.people - self.error) / self.n_sessions
        sessions = (self.sessions - self.error) / self.n_people
        zero = np.zeros_like(self.error)
        return {
            "between": np.maximum(between, zero),
            "sessions": np.maximum(sessions, zero),
            "within": self.error,
        }

    def consistency(self) -> Floats:
        """Compute ICC(3,1): whether people keep their order; shifts of all alike don't count."""
        total = self.people + (self.n_sessions - 1) * self.error
        return _ratio(self.people - self.error, total)

    def agreement(self) -> Floats:
        """Compute ICC(2,1): whether people keep their value; shifts of all alike count as error."""
        k, n = self.n_sessions, self.n_people
        total = self.people + (k - 1) * self.error + k * (self.sessions - self.error) / n
        return _ratio(self.people - self.error, total)


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation of single scans, with its 95 % interval."""

    kind: Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"]
    value: float
    low: float
    high: float


def mean_squares(values: Floats, groups: Sequence[object] | None = None) -> MeanSquares:
    """Split the variance of values, (P, S, ...), of P people in S sessions.

    With `groups`, (P,), people are compared within each alone, as within test folds, whose models
    have no common scale, or within patients and controls.
    """
    n, k = values.shape[:2]
    names = [0] * n if groups is None else list(groups)
    numbers = np.array([sorted(set(names), key=str).index(name) for name in names])
    person, session = values.mean(axis=1), values.mean(axis=0)  # (P, ...), (S, ...)
    grand = values.mean(axis=(0, 1))
    centre = np.stack([person[numbers == one].mean(axis=0) for one in range(numbers.max() + 1)])
    between = k * ((person - centre[numbers]) ** 2).sum(axis=0)
    left = values - person[:, None] - session[None] + grand
    df = n - len(centre)
    if df < 1 or k < 2:
        raise ValueError(f"{n} people in {len(centre)} groups and {k} sessions: none to compare")
    return MeanSquares(
        between / df,
        n * ((session - grand) ** 2).sum(axis=0) / (k - 1),
        (left**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1)),  # shifts between sessions are common
        n,
        k,
        df,
    )


def icc_consistency(squares: MeanSquares, level: float = 0.95) -> Icc:
    """Compute ICC(3,1) of one number with its exact interval.

    References
    ----------
    Shrout, P. E., & Fleiss, J. L. (1979). Intraclass correlations: uses in assessing rater
    reliability. Psychological Bulletin, 86.
    McGraw, K. O., & Wong, S. P. (1996). Forming inferences about some intraclass correlation
    coefficients. Psychological Methods, 1.
    """
    k, dfs = squares.n_sessions, (squares.df_people, squares.df_error)
    ratio, upper = float(_ratio(squares.people, squares.error)), 0.5 + level / 2
    low = ratio / fisher.ppf(upper, *dfs)
    high = ratio * fisher.ppf(upper, *dfs[::-1])
    ends = [(one - 1) / (one + k - 1) if math.isfinite(one) else 1.0 for one in (low, high)]
    return Icc("ICC(3,1)", float(squares.consistency()), *map(float, ends))


def icc_agreement(squares: MeanSquares, level: float = 0.95) -> Icc:
    """Compute ICC(2,1) of one number with its interval, see `icc_consistency`.

    The interval is by Satterthwaite's degrees of freedom: exact but for these.
    """
    n, k = squares.n_people, squares.n_sessions
    people, sessions, error = map(float, (squares.people, squares.sessions, squares.error))
    value = float(squares.agreement())
    if error <= 0:
        return Icc("ICC(2,1)", value, value, value)
    ratio, inner, upper = sessions / error, n * (1 + (k - 1) * value) - k * value, 0.5 + level / 2
    top = squares.df_error * (k * value * ratio + inner) ** 2
    df = top / ((n - 1) * (k * value * ratio) ** 2 + inner**2)
    below = fisher.ppf(upper, squares.df_people, df)
    above = fisher.ppf(upper, df, squares.df_people)
    rest = k * sessions + (k * n - k - n) * error
    low = n * (people - below * error) / (below * rest + n * people)
    high = n * (above * people - error) / (rest + n * above * people)
    return Icc("ICC(2,1)", value, float(low), float(high))


def icc_one_way(values: Sequence[Floats], level: float = 0.95) -> Icc:
    """Compute ICC(1,1) of people with different numbers of scans, whatever the sessions.

    `values` has the scans of each person, of whom each has one at least, some two. The interval is
    exact where all have as many scans, else close to it.
    """
    counts = np.array([len(one) for one in values], float)
    n, total = len(values), counts.sum()
    means = np.array([one.mean() for one in values])
    grand = counts @ means / total
    between = counts @ (means - grand) ** 2 / (n - 1)
    df = int(total) - n
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in values) / df
    usual = (total - (counts**2).sum() / total) / (n - 1)  # scans of a person, as they count
    ratio, upper = float(_ratio(between, np.asarray(within))), 0.5 + level / 2
    ends = ratio / fisher.ppf(upper, n - 1, df), ratio, ratio * fisher.ppf(upper, df, n - 1)
    low, value, high = [
        float((one - 1) / (one + usual - 1)) if math.isfinite(one) else 1.0 for one in ends
    ]
    return Icc("ICC(1,1)", value, low, high)


def lengthened(icc: float, factor: float) -> float:
    """Predict the reliability of the mean of `factor` sessions (Spearman and Brown 1910)."""
    return factor * icc / (1 + (factor - 1) * icc)


def needed(icc: Icc, goal: float) -> dict[str, float | None]:
    """Compute by how much to lengthen scans, or how many sessions, for a reliability of `goal`.

    Returns
    -------
    dict
        ``factor`` and the ends of its 95 % interval, ``low`` and ``high``; None for more than
        `MOST`, or for none at all, where nothing repeats.
    """
    found = {"factor": icc.value, "low": icc.high, "high": icc.low}
    return {name: _factor(one, goal) for name, one in found.items()}


def _factor(icc: float, goal: float) -> float | None:
    if icc >= 1:
        return 0.0
    factor = goal * (1 - icc) / (icc * (1 - goal)) if icc > 0 else math.inf
    return factor if factor <= MOST else None


def retest_of_scores(
    rows: pd.DataFrame,
    session_of: Mapping[str, str] | None = None,
    group: str | None = None,
    column: str = "score",
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

    Returns
    -------
    dict
        Plain values: ``n_people, n_sessions, sessions, left_out`` (people without all of them);
        ``reason``, why nothing is told, else empty; ``agreement`` and ``consistency`` (`Icc`);
        ``variance``, fractions ``between``, ``sessions``, ``within``;
        ``standard_error_of_measurement`` and ``smallest_detectable_change`` of one scan, in
        standard deviations of the score; ``needed`` sessions by goal; ``within_groups``, the same
        without the difference between groups; ``one_way``, of all people with two scans or more.
    """
    session_of = sessions_of(rows) if session_of is None else session_of
    found = [_standard(one, session_of, column) for _, one in rows.groupby("repeat", sort=True)]
    sessions, complete, left_out = _complete(found[0])
    facts: dict[str, Any] = {
        "n_people": len(complete),
        "n_sessions": len(sessions),
        "sessions": sessions,
        "left_out": left_out,
        "reason": "",
    }
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
        tables.append(wide.loc[complete, sessions].to_numpy(float))
        first = one.drop_duplicates("participant_id").set_index("participant_id").loc[complete]
        folds.append(list(first["fold"]))
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
    sem = math.sqrt(parts["sessions"] + parts["within"])
    return {
        "agreement": asdict(agreement),
        "consistency": asdict(consistency),
        "variance": {name: one / total if total else math.nan for name, one in parts.items()},
        "standard_error_of_measurement": sem,
        "smallest_detectable_change": 1.96 * math.sqrt(2) * sem,
        "needed": {f"{goal:g}": needed(agreement, goal) for goal in GOALS},
    }


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
    asked = facts["needed"][f"{goal:g}"]
    said.append(f"{_sessions(asked)} for a reliability of {goal:g}.")
    if facts["left_out"]:
        said.append(f"{len(facts['left_out'])} people without all sessions are not counted.")
    return said


def _sessions(asked: Mapping[str, float | None]) -> str:
    def say(factor: float | None) -> str:
        return f"more than {MOST}" if factor is None else f"{max(1, math.ceil(factor - 1e-9))}"

    if asked["factor"] is None:
        return "No number of such sessions is known to be enough"
    ends = f"[{say(asked['low'])}, {say(asked['high'])}]"
    return f"The mean of {say(asked['factor'])} such session(s) {ends} would be needed"


def _ratio(top: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(top / below)


def _standard(rows: pd.DataFrame, session_of: Mapping[str, str], column: str) -> pd.DataFrame:
    """Centre and scale the scores of a repeat within each test fold."""
    folds = rows.groupby("fold")[column]
    spread = folds.transform("std", ddof=0).replace(0, np.nan)
    value = ((rows[column] - folds.transform("mean")) / spread).fillna(0.0)
    session = [session_of[str(scan)] for scan in rows["scan_id"]]
    return rows[["participant_id", "fold"]].assign(session=session, value=value)


def _complete(rows: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Find the sessions that most people have, the people who have all, and who has others only.

    Of all sets of sessions that somebody has, the one with most scans of people who have it whole.
    """
    held: dict[str, set[str]] = defaultdict(set)
    for person, session in zip(rows["participant_id"], rows["session"], strict=True):
        held[str(person)].add(str(session))
    options = Counter(frozenset(one) for one in held.values())

    def scans(option: frozenset[str]) -> tuple[int, int]:
        n = sum(option <= one for one in held.values())
        return (n * len(option) if len(option) > 1 else 0), n

    best = max(sorted(options, key=sorted), key=scans)
    complete = sorted(person for person, one in held.items() if best <= one)
    return sorted(best, key=_natural), complete, sorted(set(held) - set(complete))


def _natural(text: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", str(text))
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
