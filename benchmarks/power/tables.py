"""The race in tables: for files, for Markdown, for the terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.power.summary import LDA, LINEAR, ORACLE, Interval, summarise
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table

#: Characters of a line in the terminal.
WIDTH = 110

HEAD = """# Power

AUC: mean within test folds, then over draws, with a 95 % t-interval over draws. The best linear
baseline is, for each regime and n, the one with the largest mean AUC over these same draws, which
favours it.
"""


def auc_table(summary: pd.DataFrame, n: int) -> pd.DataFrame:
    """Put regimes in rows and models in columns, for cohorts of one size."""
    return _spread(
        summary[summary["n"] == n],
        lambda row: Interval(row.mean_auc, row.ci_low, row.ci_high).say(),
    )


def difference_table(summary: pd.DataFrame, n: int) -> pd.DataFrame:
    """Put the differences to the best linear baseline, and the share closed, in such a table."""
    rows = summary[summary["n"] == n]
    best = rows.groupby("regime", sort=False)["best_linear"].first()
    others = rows[~rows["model"].isin(LINEAR)]
    table = _spread(others, _say_difference)
    table.insert(0, "best linear", best.reindex(table.index))
    return table


def lda_table(summary: pd.DataFrame, n: int) -> pd.DataFrame:
    """Put the differences to shrinkage LDA in such a table; empty where it was not scored."""
    rows = summary[(summary["n"] == n) & ~summary["model"].isin(LINEAR)]
    return _spread(
        rows[rows["minus_lda"].notna()],
        lambda row: Interval(row.minus_lda, row.minus_lda_low, row.minus_lda_high).say("+"),
    )


def _say_difference(row: Any) -> str:
    said = Interval(row.difference, row.difference_low, row.difference_high).say("+")
    if row.model == ORACLE or np.isnan(row.closed):
        return said
    return f"{said}, {row.closed:.0%}"


def _spread(rows: pd.DataFrame, say: Callable[[Any], str]) -> pd.DataFrame:
    said = [say(row) for row in rows.itertuples()]
    table = rows.assign(said=said).pivot_table(
        index="regime", columns="model", values="said", aggfunc="first", sort=False
    )
    return table.rename_axis(columns=None)


def markdown(summary: pd.DataFrame) -> str:
    """Write all tables as Markdown."""
    parts = [HEAD]
    for n in summary["n"].unique():
        parts += [f"## n = {n}\n", _markdown_table(auc_table(summary, n))]
        parts += ["AUC minus that of the best linear baseline, paired by draw, and the share of"]
        parts[-1] += " the distance from there to the oracle that is closed:\n"
        parts.append(_markdown_table(difference_table(summary, n)))
        table = lda_table(summary, n)
        if len(table):
            parts += [f"AUC minus that of {LDA}, paired by draw:\n", _markdown_table(table)]
    return "\n".join(parts)


def _markdown_table(table: pd.DataFrame) -> str:
    lines = [["regime", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [[str(cell) for cell in row] for row in table.itertuples()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def terminal_lines(summary: pd.DataFrame) -> list[str]:
    """Write all tables for a terminal of `WIDTH` columns; wide ones go on below."""
    lines = ["mean AUC [95 % t-interval over draws]"]
    for n in summary["n"].unique():
        lines += ["", f"n = {n}", *_fit(auc_table(summary, n))]
        lines += ["", f"n = {n}: minus the best linear baseline, share of the way to the oracle"]
        lines += _fit(difference_table(summary, n))
        table = lda_table(summary, n)
        if len(table):
            lines += ["", f"n = {n}: minus {LDA}", *_fit(table)]
    return lines


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


def write_tables(units: pd.DataFrame, out: Path) -> list[str]:
    """Write ``power.tsv`` and ``power.md``; return their figures in lines."""
    summary = summarise(units)
    write_table(summary, out / "power.tsv")
    write_atomically(out / "power.md", markdown(summary))
    return terminal_lines(summary)
