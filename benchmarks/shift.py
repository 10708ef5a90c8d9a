"""What a signature says of scans unlike those it was trained on, with its gates and without."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest
from tqdm import tqdm

from benchmarks.changed_maps import UNCHANGED
from benchmarks.power.describe import code_digest, describe, digest
from benchmarks.race import Goal, check_only, write_results
from benchmarks.shift_answers import ANSWERS, ROOT, ask_all
from benchmarks.shift_studies import Studies
from fmnet.data.files import write_atomically
from fmnet.runs.record import table_text
from fmnet.types import Fraction, Seed

#: Code that decides figures.
CODE = (
    *("benchmarks/shift_answers.py", "benchmarks/shift_studies.py", "benchmarks/changed_maps.py"),
    "fmnet",
)
#: Share of scans that may have a wrong answer alone, and of people like those of training whom a
#: gate may turn away.
MAX_WRONG, MAX_ALARMS = 0.01, 0.05


@dataclass(frozen=True)
class Shift:
    """New people of the training site, their maps as they are and changed in many ways.

    Parameters
    ----------
    studies : dict
        By name: where signatures and new people come from.
    level : float
        Of the sets.
    overrides : list of str
        Of the studies, as `scripts/train.py` takes them.
    only : list of str or None
        Studies that are measured this time; all if None.
    seed : int
        Other seeds, other people.

    Raises
    ------
    ConfigError
        If `only` names something else.
    """

    studies: dict[str, Studies]
    level: Fraction = 0.8
    overrides: Sequence[str] = ()
    only: Sequence[str] | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_only(self.only, self.studies)

    def run(self, out: Path) -> list[str]:
        """Measure whatever `out` doesn't hold yet of this version of the code; write tables."""
        units = out / "units"
        units.mkdir(parents=True, exist_ok=True)
        code = code_digest(*(ROOT / one for one in CODE))
        settings = (self.level, self.overrides, self.seed)
        lines: list[str] = []
        for name in self.studies if self.only is None else self.only:
            studies, rows = self.studies[name], []
            about = digest(describe(studies), *settings, code)
            for number in tqdm(range(studies.n_studies), unit="study", desc=name):
                path = units / f"{name}_{number}_{about}.tsv"
                if not path.exists():
                    write_atomically(path, table_text(ask_all(studies, number, *settings)))
                rows.append(pd.read_csv(path, sep="\t", keep_default_na=False))
            table = pd.concat(rows, ignore_index=True)
            alarms = false_alarms(table)
            tables = {"shifts": summarise(table), "false_alarms": alarms, "scans": table}
            shown = write_results(out / name, tables, goals(table, alarms), describe(self))
            lines += ["", name, *shown[: shown.index("scans") - 1], *shown[-3:]]
        return lines


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of each answer by shift, without gates and with them, and the gate that failed most."""
    found = []
    for shift, own in rows.groupby("shift", sort=False):
        entry: dict[str, Any] = {"shift": shift, "scans": len(own)}
        for when in ("before", "after"):
            entry |= {f"{when}_{name}": float((own[when] == name).mean()) for name in ANSWERS}
        failed = gates_failed(own).value_counts() / len(own)
        entry["most_often"] = f"{failed.index[0]} ({failed.iloc[0]:.2f})" if len(failed) else ""
        found.append(entry)
    return pd.DataFrame(found)


def gates_failed(rows: pd.DataFrame) -> "pd.Series[str]":
    """List each gate that withheld an answer, as often as it did."""
    failed = rows.loc[rows["after"] == "abstained", "gates"]
    return failed.str.split(" + ", regex=False).explode()


def false_alarms(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of people of the training site whom each gate turns away, with its exact interval."""
    own = rows[rows["shift"] == UNCHANGED]
    by_gate = gates_failed(own).value_counts()
    n_failed = int((own["after"] == "abstained").sum())
    counts = {"any": n_failed, **{str(gate): int(n) for gate, n in by_gate.items()}}
    found = []
    for gate, n in counts.items():
        low, high = binomtest(n, len(own)).proportion_ci()
        entry = {"gate": gate, "people": len(own), "turned_away": n}
        found.append(entry | {"share": n / len(own), "low": float(low), "high": float(high)})
    return pd.DataFrame(found)


def goals(rows: pd.DataFrame, alarms: pd.DataFrame) -> list[Goal]:
    """Compare wrong answers, over all shifts and of the worst, and false alarms with the aims."""
    shifted = rows[rows["shift"] != UNCHANGED]
    is_wrong = shifted["after"] == "wrong"
    by_shift = is_wrong.groupby(shifted["shift"]).mean()
    pooled, worst = float(is_wrong.mean()), str(by_shift.idxmax())
    return [
        Goal("wrong alone, over all shifts", pooled, MAX_WRONG, is_floor=False),
        Goal(f"wrong alone, {worst}", float(by_shift[worst]), MAX_WRONG, is_floor=False),
        Goal("false alarms", float(alarms["share"].iloc[0]), MAX_ALARMS, is_floor=False),
    ]
