"""Rivals on the same task, timed in turns within one run, so that their ratios can be trusted."""

import json
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.data.tables import write_table
from fmnet.errors import ConfigError, Fault
from fmnet.runs.record import describe_device, versions
from fmnet.runs.run_folder import write_json

#: What a benchmark leaves in its folder beside its tables.
RESULTS = "results.json"


@dataclass(frozen=True)
class Goal:
    """A figure that was hoped for beside the one that was measured.

    Parameters
    ----------
    what : str
        In words, with the unit.
    measured, wanted : float
        Found in this run, and aimed at.
    is_floor : bool
        Whether more is better.
    """

    what: str
    measured: float
    wanted: float
    is_floor: bool = True

    @property
    def is_reached(self) -> bool:
        """Tell whether the figure is at least as good as the one aimed at."""
        better = self.measured >= self.wanted if self.is_floor else self.measured <= self.wanted
        return bool(better)

    def __str__(self) -> str:
        bound = "at least" if self.is_floor else "at most"
        verdict = "reached" if self.is_reached else "NOT reached"
        return f"{self.what}: {self.measured:.3g} ({bound} {self.wanted:g} wanted: {verdict})"


def check_only(only: Iterable[str] | None, known: Iterable[str]) -> None:
    """Raise `ConfigError` if a part is asked for by a name that no part has."""
    names = list(known)
    if wrong := [name for name in only or () if name not in names]:
        action = "correct the names, or leave suite.only out"
        raise ConfigError(Fault("suite.only", ", ".join(wrong), ", ".join(names), action))


def race(
    rivals: Mapping[str, Callable[[], Any]], n_rounds: int, title: str, warm: bool = True
) -> pd.DataFrame:
    """Time rivals in turns: one round runs each of them once.

    Parameters
    ----------
    rivals : mapping
        Name to what is timed; the first is what the others are compared with.
    n_rounds : int
        How often.
    title : str
        Of the progress bar.
    warm : bool
        Whether each runs once untimed before.

    Returns
    -------
    DataFrame
        One row per rival: ``rival``, ``seconds`` (median), ``fastest``, ``slowest``, and ``ratio``
        of its median to the first rival's.
    """
    times: dict[str, list[float]] = {name: [] for name in rivals}
    turns = n_rounds + warm
    with tqdm(total=turns * len(rivals), desc=title, unit="run", leave=False) as bar:
        for turn in range(turns):
            for name, work in rivals.items():
                started = perf_counter()
                work()
                if turn >= warm:
                    times[name].append(perf_counter() - started)
                bar.update()
    return race_table(times)


def race_table(times: Mapping[str, list[float]]) -> pd.DataFrame:
    """Summarise seconds by rival as `race` does."""
    rows = [
        {
            "rival": name,
            "seconds": float(np.median(seconds)),
            "fastest": min(seconds),
            "slowest": max(seconds),
        }
        for name, seconds in times.items()
    ]
    table = pd.DataFrame(rows)
    table["ratio"] = table["seconds"] / table["seconds"].iloc[0]
    return table


def growth(sizes: list[int], seconds: list[float]) -> float:
    """Exponent of cost against size, by least squares on logarithms: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def describe_settings(suite: Any) -> dict[str, Any]:
    """List what a suite was run with, as JSON can hold it."""
    plain: dict[str, Any] = json.loads(json.dumps(vars(suite), default=str))
    return plain


def write_results(
    out: Path, tables: Mapping[str, pd.DataFrame], goals: list[Goal], settings: dict[str, Any]
) -> list[str]:
    """Write tables as TSV and everything as ``results.json``; return tables and goals in words.

    Parameters
    ----------
    out : Path
        Folder.
    tables : mapping
        File name without suffix to table.
    goals : list of Goal
        What was hoped for.
    settings : dict
        Of the suite.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, out / f"{name}.tsv")
    write_json(
        {
            "command": sys.argv,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": describe_device(),
            "versions": versions() | {"python": platform.python_version()},
            "settings": settings,
            "tables": {n: json.loads(t.to_json(orient="records")) for n, t in tables.items()},
            "goals": [asdict(goal) | {"is_reached": goal.is_reached} for goal in goals],
        },
        out / RESULTS,
    )
    lines = [describe_device()]
    for name, table in tables.items():
        text = table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
        lines += ["", name.replace("_", " "), text]
    return [*lines, "", *map(str, goals)]
