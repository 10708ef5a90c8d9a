"""What the race at rest came to, in tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.power.summary import Interval, t_interval
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table

HEAD = """# Coupling at rest

AUC: mean within test folds, then over cohorts, with a 95 % t-interval over cohorts. Columns: the
difference between the groups, FM minus HC, in the correlation of default mode and salience.
"""


def summarise(units: pd.DataFrame) -> pd.DataFrame:
    """Average over cohorts: ``model, coupling, mean_auc, ci_low, ci_high, n_draws, seconds``."""
    rows = []
    for (model, coupling), own in units.groupby(["model", "coupling"], sort=False):
        found = t_interval(own["auc"])
        rows.append(
            {
                "model": model,
                "coupling": coupling,
                "mean_auc": found.mean,
                "ci_low": float(np.clip(found.low, 0, 1)),  # an AUC is no less and no more
                "ci_high": float(np.clip(found.high, 0, 1)),
                "n_draws": len(own),
                "seconds": own["seconds"].mean(),
            }
        )
    return pd.DataFrame(rows)


def spread(summary: pd.DataFrame) -> pd.DataFrame:
    """Put models in rows and differences in columns, with the time per cohort."""
    figures = summary[["mean_auc", "ci_low", "ci_high"]].to_numpy(float)
    said = [Interval(*row).say() for row in figures]
    table = summary.assign(said=said).pivot_table(
        index="model", columns="coupling", values="said", aggfunc="first", sort=False
    )
    seconds = summary.groupby("model", sort=False)["seconds"].mean()
    table = table[sorted(table.columns)].rename(columns=lambda size: f"{size:g}")
    return table.assign(seconds=[f"{seconds[name]:.1f}" for name in table.index])


def write_tables(units: pd.DataFrame, out: Path) -> list[str]:
    """Write ``rest.tsv`` and ``rest.md``; return the table in lines."""
    summary = summarise(units)
    table = spread(summary).rename_axis(columns=None)
    write_table(summary, out / "rest.tsv")
    cells = [["model", *table.columns], ["---"] * (len(table.columns) + 1)]
    cells += [[str(cell) for cell in row] for row in table.itertuples()]
    lines = "".join(f"| {' | '.join(row)} |\n" for row in cells)
    write_atomically(out / "rest.md", f"{HEAD}\n{lines}")
    n = sorted(set(summary["n_draws"]))
    title = f"AUC by difference in coupling [95 % t-interval over {'/'.join(map(str, n))} cohorts]"
    return [title, *table.rename_axis("").reset_index().to_string(index=False).splitlines()]
