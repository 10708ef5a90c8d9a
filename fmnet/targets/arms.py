"""Read arms, strata and crossover periods of a trial from texts."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fmnet.data.covariates import ACCEPTED_NUMBERS, read_numbers
from fmnet.data.outcomes import Numbers
from fmnet.data.tables import normal_text, say_some
from fmnet.errors import Fault

#: Words for an arm that people are compared with.
CONTROLS = (
    "0", "control", "placebo", "sham", "pbo", "plc", "no treatment", "waitlist", "wait-list",
    "usual care", "tau",
)  # fmt: skip
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
    present = sorted({str(text) for text in texts} - {""})
    where = str(texts.name)
    if named is not None:
        wanted = tuple(normal_text(str(one)) for one in named)
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
        return (), [Fault(where, found, "two arms, one of them a control", NO_CONTROL)]
    controls = [one for one in present if one.casefold() in CONTROLS]
    if len(present) > 2 or len(controls) != 1:
        found = f"arms {say_some(map(repr, present))}, and it isn't told which is the control"
        action = "name both, the control first: 'target.arms=[CONTROL,ACTIVE]'"
        return (), [Fault(where, found, "two arms, one of them a control", action)]
    return (controls[0], next(one for one in present if one != controls[0])), []


def number_names(texts: pd.Series, names: Sequence[str]) -> Numbers:
    """Number texts by their place among names, (N,); NaN for others."""
    place = {name: float(k) for k, name in enumerate(names)}
    return np.array([place.get(str(text), np.nan) for text in texts])


def pair_periods(
    people: Sequence[str], outcome: Numbers, arm: Numbers, period: Numbers | None
) -> tuple[dict[str, Numbers], list[Fault]]:
    """Put together the outcomes of both periods of a crossover, for each row of a person.

    Parameters
    ----------
    people : sequence of str
        Whose row it is.
    outcome, arm, period : ndarray of float, shape (N,)
        Of each row; who has several rows of one arm counts with their mean.

    Returns
    -------
    tuple
        ``control`` and ``active``, the outcomes under either arm, and, with periods, ``order``: 1
        where the active arm came first, else 0; (N,) each, NaN where an arm is missing. A fault for
        each person who had both arms in the same period.
    """
    columns = {"person": people, "outcome": outcome, "arm": arm}
    table = pd.DataFrame(columns if period is None else columns | {"period": period})
    means = table.dropna().groupby(["person", "arm"]).mean().unstack("arm")
    values, faults = dict[str, Numbers](), list[Fault]()
    missing = pd.Series(np.nan, index=means.index)

    def of(name: str, which: float) -> Numbers:
        held = means[name].get(which, missing) if name in means else missing
        return held.reindex(list(people)).to_numpy(float)

    values |= {"control": of("outcome", 0.0), "active": of("outcome", 1.0)}
    if period is not None:
        gap = of("period", 0.0) - of("period", 1.0)
        values["order"] = np.where(np.isnan(gap) | (gap == 0), np.nan, (gap > 0).astype(float))
        for person in sorted({people[row] for row in np.flatnonzero(gap == 0)}):
            found, action = "both arms in one period", "number the periods, the first one lower"
            faults.append(Fault(str(person), found, "one arm in each", action, str(person)))
    return values, faults


def shares_of(
    arm: Numbers, stratum: Numbers, known: "np.ndarray[tuple[int], np.dtype[np.intp]]"
) -> Numbers:
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
    by_number = np.array([float(propensity[name]) for name in names])
    return by_number[np.nan_to_num(stratum).astype(int)]
