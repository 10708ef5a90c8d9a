"""The race in tables: for files, for Markdown, for the terminal."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.power.goals import judge_goals
from benchmarks.power.summary import (
    BEST_LINEAR,
    CEILING,
    CLOSED_FORM,
    DEFAULT,
    ORACLE,
    Interval,
    compare_pairs,
    summarise,
)
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table

#: Characters of a line in the terminal.
WIDTH = 110

HEAD = """AUC: mean within test folds, then over draws, with a 95 % t-interval over draws. The best
linear baseline is, for each regime and n, the one with the largest mean AUC over these same draws,
which favours it. Where several templates were planted in turn, a row with the template's name has
its draws alone.
"""


def auc_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Put regimes in rows and models in columns, for cohorts of one size."""
    return _spread(summary, lambda row: Interval(row.mean_auc, row.ci_low, row.ci_high).say())


def difference_table(summary: pd.DataFrame, linear: Sequence[str]) -> pd.DataFrame:
    """Put the differences to the best linear baseline in such a table."""
    others = summary[~summary["model"].isin(linear) & (summary["best_linear"] != "")]
    table = _spread(
        others,
        lambda row: _say_step(row.difference, row.difference_low, row.difference_high),
    )
    best = summary.assign(row=_names(summary)).groupby("row", sort=False)["best_linear"].first()
    if len(table):
        table.insert(0, BEST_LINEAR, best.reindex(table.index))
    return table


def share_table(summary: pd.DataFrame, linear: Sequence[str]) -> pd.DataFrame:
    """Put the shares of the way to oracle and ceiling in such a table; the last row is their mean.

    Empty where there are none. Means are over regimes, not over templates as well.
    """
    others = summary[~summary["model"].isin([*linear, ORACLE])]
    columns = {}
    for name, column in ((ORACLE, "to_oracle"), (CEILING, "to_ceiling")):
        for model in others["model"].unique():
            own = others[others["model"] == model]
            shares = pd.Series(own[column].to_numpy(), index=_names(own), dtype=float)
            if shares.notna().any():
                mean = shares[(own["template"] == "").to_numpy()].mean()
                columns[f"{model} to {name}"] = pd.concat([shares, pd.Series({"mean": mean})])
    table = pd.DataFrame(columns)
    order = [*dict.fromkeys(_names(others)), "mean"]
    said = table.reindex([name for name in order if name in table.index])
    return said.map(lambda share: "" if np.isnan(share) else f"{share:.0%}")


def rival_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Put the differences of one model to each rival in a table: rivals in columns."""
    rows = pairs[pairs["rival"] != BEST_LINEAR]
    return _spread(rows, lambda row: _say_step(row.difference, row.low, row.high), "rival")


def _say_step(mean: float, low: float, high: float) -> str:
    return Interval(mean, low, high).say("+", 3)


def _names(rows: pd.DataFrame) -> list[str]:
    pairs = zip(rows["regime"], rows["template"], strict=True)
    return [f"{regime}: {template}" if template else regime for regime, template in pairs]


def _spread(rows: pd.DataFrame, say: Callable[[Any], str], columns: str = "model") -> pd.DataFrame:
    said = rows.assign(said=[say(row) for row in rows.itertuples()], row=_names(rows))
    table = said.pivot_table(
        index="row", columns=columns, values="said", aggfunc="first", sort=False
    )
    return table.fillna("").rename_axis(index=None, columns=None)


def _tables(
    summary: pd.DataFrame, pairs: pd.DataFrame, linear: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Make all tables that hold something, each with what it shows."""
    yield "mean AUC [95 % t-interval over draws]", auc_table(summary)
    shares = "share of the way from the best linear baseline to oracle and ceiling"
    others = [
        ("minus the best linear baseline, paired by draw", difference_table(summary, linear)),
        (shares, share_table(summary, linear)),
    ]
    for model in (DEFAULT, CLOSED_FORM):
        others.append((f"{model} minus each rival", rival_table(pairs[pairs["model"] == model])))
    yield from ((title, table) for title, table in others if len(table))


def markdown(summary: pd.DataFrame, pairs: pd.DataFrame, linear: Sequence[str], head: str) -> str:
    """Write all tables as Markdown."""
    parts = ["# Power\n", head]
    for n in summary["n"].unique():
        parts.append(f"## n = {n}\n")
        chosen = summary[summary["n"] == n], pairs[pairs["n"] == n]
        for title, table in _tables(*chosen, linear):
            parts += [f"{title[0].upper()}{title[1:]}:\n", _markdown_table(table)]
    if goals := judge_goals(summary, pairs):
        parts += ["## Goals\n", "".join(f"- {goal}\n" for goal in goals)]
    return "\n".join(parts)


def _markdown_table(table: pd.DataFrame) -> str:
    lines = [["regime", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [[str(cell) for cell in row] for row in table.itertuples()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def terminal_lines(summary: pd.DataFrame, pairs: pd.DataFrame, linear: Sequence[str]) -> list[str]:
    """Write all tables for a terminal of `WIDTH` columns; wide ones go on below."""
    lines: list[str] = []
    for n in summary["n"].unique():
        chosen = summary[summary["n"] == n], pairs[pairs["n"] == n]
        for title, table in _tables(*chosen, linear):
            lines += ["", f"n = {n}: {title}", *_fit(table)]
    if goals := judge_goals(summary, pairs):
        lines += ["", "goals", *map(str, goals)]
    return lines[1:]


def _fit(table: pd.DataFrame) -> list[str]:
    """Set a table in columns, as many side by side as fit."""
    first = _column("", list(table.index))
    blocks = [[first]]
    for name in table:
        column = _column(str(name), [str(cell) for cell in table[name]])
        if sum(len(one[0]) + 2 for one in [*blocks[-1], column]) > WIDTH + 2:
            blocks.append([first])
        blocks[-1].append(column)
    return ["  ".join(cells).rstrip() for block in blocks for cells in zip(*block, strict=True)]


def _column(name: str, cells: list[str]) -> list[str]:
    width = max(map(len, [name, *cells]))
    return [cell.ljust(width) for cell in (name, *cells)]


def write_tables(
    units: pd.DataFrame, out: Path, linear: Sequence[str], head: str = HEAD
) -> list[str]:
    """Write ``power.tsv``, ``differences.tsv`` and ``power.md``; return their figures in lines."""
    summary, pairs = summarise(units, linear), compare_pairs(units, linear)
    out.mkdir(parents=True, exist_ok=True)
    write_table(summary, out / "power.tsv")
    write_table(pairs, out / "differences.tsv")
    write_atomically(out / "power.md", markdown(summary, pairs, linear, head))
    return terminal_lines(summary, pairs, linear)
