"""Read arms, strata and periods of a trial: who was in which, and how likely that was."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.covariates import ACCEPTED_NUMBERS, read_numbers
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import say_some
from fmnet.errors import Fault
from fmnet.targets.base import plain_value

#: Words for an arm that people are compared with.
CONTROLS = (
    "0", "control", "placebo", "sham", "pbo", "plc", "no treatment", "waitlist", "wait-list",
    "usual care", "tau",
)  # fmt: skip
#: What a table of a trial has to hold.
TWO_ARMS = "two arms, one of them a control"
#: Fewest people in a part of the baseline's range.
PART = 20
NO_CONTROL = (
    "who responds can't be told without a control arm: those who improve under a treatment may have"
    " improved without it. Name the column of the arm (target.arm=COLUMN), or ask who improves,"
    " whatever it is due to: target=improvement"
)


def read_column(texts: pd.DataFrame, column: str) -> tuple[Numbers, list[Fault]]:
    """Read a column of numbers, (N,); what is none is a fault of the person."""
    numbers = read_numbers(texts[column])
    action = "correct the cell, or write n/a where the number isn't known"
    wrong = texts.loc[numbers.is_wrong, ["participant_id", column]]
    faults = [
        Fault(f"{person}, {column}", repr(str(text)), ACCEPTED_NUMBERS, action, str(person))
        for person, text in wrong.itertuples(index=False)
    ]
    return numbers.values, faults


def name_arms(texts: pd.Series, named: Sequence[str] | None) -> tuple[tuple[str, ...], list[Fault]]:
    """Find the control and the active arm, in this order, among the arms that are written.

    They are those `named`, or else the only two, of which one has a name that says control.
    """
    present = sorted({plain_value(text) for text in texts} - {""})
    where = str(texts.name)
    if named is not None:
        wanted = tuple(plain_value(one) for one in named)
        if len(set(wanted)) != 2:
            return wanted, [
                Fault("target.arms", str(list(named)), "[CONTROL, ACTIVE]", "name both")
            ]
        if absent := [one for one in wanted if one not in present]:
            found = f"arms {say_some(map(repr, present)) or 'of nobody'}"
            action = NO_CONTROL if len(present) < 2 else "correct target.arms"
            return wanted, [Fault(where, found, f"{', '.join(map(repr, absent))} as well", action)]
        return wanted, []
    if len(present) < 2:
        found = f"one arm, {present[0]!r}" if present else "no arm"
        return (), [Fault(where, found, TWO_ARMS, NO_CONTROL)]
    controls = [one for one in present if one.casefold() in CONTROLS]
    if len(present) > 2 or len(controls) != 1:
        found = f"arms {say_some(map(repr, present))}, and it isn't told which is the control"
        action = "name both, the control first: 'target.arms=[CONTROL,ACTIVE]'"
        return (), [Fault(where, found, TWO_ARMS, action)]
    return (controls[0], next(one for one in present if one != controls[0])), []


def number_names(texts: pd.Series, names: Sequence[str]) -> Numbers:
    """Give texts numbers: their place among names, (N,); NaN for others."""
    place = {plain_value(name): float(k) for k, name in enumerate(names)}
    return np.array([place.get(plain_value(text), np.nan) for text in texts])


def pair_periods(
    texts: pd.DataFrame, values: Mapping[str, Numbers], order: str | None, arms: Sequence[str]
) -> tuple[dict[str, Numbers], list[Fault]]:
    """Put together both periods of a crossover, each in a row of its own.

    Parameters
    ----------
    texts : DataFrame
        One row for each scan, with ``participant_id``.
    values : dict of ndarray of float, shape (N,)
        ``outcome`` and ``arm`` of each row; several rows of an arm count with their mean.
    order : str, optional
        Column with the number of the period.
    arms : sequence of str
        Names of control and active arm.

    Returns
    -------
    tuple
        By role, (N,) each, alike for all rows of a person and NaN where an arm is missing:
        ``control`` and ``active``, the outcomes under either arm, their difference ``outcome``,
        and ``order``: 1 where the active arm came first, else 0. And faults.
    """
    people = texts["participant_id"].astype(str)
    table = pd.DataFrame({"person": people, "outcome": values["outcome"], "arm": values["arm"]})
    faults = list[Fault]()
    if order:
        table["period"], faults = read_column(texts, order)
    means = table.dropna().groupby(["person", "arm"]).mean().unstack("arm")

    def of(name: str, arm: float) -> Numbers:
        held = means.get((name, arm), pd.Series(dtype=float))
        return held.reindex(people).to_numpy(float)

    found = {"control": of("outcome", 0.0), "active": of("outcome", 1.0)}
    found["outcome"] = found["active"] - found["control"]
    if order:
        gap = of("period", 0.0) - of("period", 1.0)
        found["order"] = np.where(np.isnan(gap), np.nan, (gap > 0).astype(float))
        for person in sorted(set(people[gap == 0])):
            action = "number the periods of a person, the first one lower"
            accepted = f"{' and '.join(arms)} in different periods"
            faults.append(Fault(f"{person}, {order}", "one period", accepted, action, person))
    return found, faults


def pair_columns(
    texts: pd.DataFrame, values: Mapping[str, Numbers], order: str | None, arms: Sequence[str]
) -> tuple[dict[str, Numbers], list[Fault]]:
    """Put together both periods of a crossover, both in one row; see `pair_periods`.

    Of values ``outcome``, under control, and ``active``; `order` is the column with the name of the
    arm that came first.
    """
    found = {"control": values["outcome"], "outcome": values["active"] - values["outcome"]}
    if not order:
        return found, []
    first = number_names(texts[order], arms)
    is_wrong = np.isnan(first) & (texts[order] != "").to_numpy()
    faults = [
        Fault(
            f"{person}, {order}",
            repr(str(text)),
            f"the arm that came first: {' or '.join(arms)}",
            "correct the cell, or name the arms: 'target.arms=[CONTROL,ACTIVE]'",
            str(person),
        )
        for person, text in texts.loc[is_wrong, ["participant_id", order]].itertuples(index=False)
    ]
    return found | {"order": first}, faults


def check_propensity(
    propensity: float | Mapping[str, float] | None, strata: Sequence[str]
) -> list[Fault]:
    """Find a known propensity that can't be, or that lacks for a stratum."""
    if propensity is None:
        return []
    where, faults = "target.propensity", list[Fault]()
    named = strata or [""]
    each = propensity if isinstance(propensity, Mapping) else dict.fromkeys(named, propensity)
    if not all(0 < share < 1 for share in each.values()):
        accepted = "how likely the active arm was, between 0 and 1"
        faults.append(Fault(where, str(propensity), accepted, "correct it, or set it to null"))
    if lacking := [one for one in named if one not in each]:
        found = f"none for {say_some(map(repr, lacking))}" if strata else "several, but no strata"
        action = "correct it, name target.stratum, or set it to null for the share of the arm"
        faults.append(Fault(where, found, "one for each stratum", action))
    return faults


def too_few(found: str, fewest: int) -> Fault:
    """Refuse a trial with too few people."""
    action = "add people; lower target.min_people only with a reason: an interaction needs many"
    return Fault("cohort", found, f"{fewest} or more", action)


def baseline_parts(outcomes: Outcomes, kind: Numbers) -> NDArray[np.intp]:
    """Cut each kind of people by baseline into up to three parts alike in size, (N,)."""
    part = np.zeros(len(outcomes), dtype=np.intp)
    if "baseline" not in outcomes.values:
        return part
    people, baseline = np.array(outcomes.participants), outcomes["baseline"]
    for one in np.unique(kind):
        rows = np.flatnonzero((kind == one) & ~np.isnan(baseline))
        n_parts = int(np.clip(len(set(people[rows])) // PART, 1, 3))
        ends = np.quantile(baseline[rows], np.arange(1, n_parts) / n_parts) if n_parts > 1 else ()
        part[rows] = np.searchsorted(np.asarray(ends), baseline[rows])
    return part


def shares_of(arm: Numbers, stratum: Numbers, known: NDArray[np.intp]) -> Numbers:
    """Tell how common the active arm is in the stratum of each row, (N,), among rows `known`.

    Shares of small strata are drawn a little to that of all, so that none is 0 or 1.
    """
    overall = arm[known].mean()
    shares = np.full(len(arm), overall)
    for one in np.unique(stratum[known]):
        own = arm[known[stratum[known] == one]]
        shares[stratum == one] = (own.sum() + overall) / (len(own) + 1)
    return shares


def given_shares(
    propensity: float | Mapping[str, float], stratum: Numbers, names: Sequence[str]
) -> Numbers:
    """Look up a known propensity for each row, (N,)."""
    if not isinstance(propensity, Mapping):
        return np.full(len(stratum), float(propensity))
    shares = {float(number): propensity[name] for number, name in enumerate(names)}
    return np.array([shares.get(one, np.nan) for one in stratum])
