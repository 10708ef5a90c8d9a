"""Read finished runs to stand side by side: how they were set, what their models reached."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnet.earlier import EARLIER_NETWORK, current_config, rename_network
from fmnet.errors import Fault, RunError
from fmnet.evaluation.comparison import RIVALS
from fmnet.evaluation.conclusions import exported_model, is_corrected
from fmnet.report.sentences import name_of, stopped
from fmnet.runs.run_folder import check_run_files, read_json
from fmnet.types import NETWORK

#: What is read of a run.
READ = ("config.yaml", "manifest.json", "participants.tsv", "predictions.tsv", "metrics.json")
#: How deep below a folder runs are looked for: sweeps write ``DATE/TIME/JOB``.
DEPTH = 4
#: The figure of two groups.
AUC = {"name": "auc", "title": "AUC", "chance": 0.5}


class Reached(NamedTuple):
    """A figure of a model with its 95 % interval, None where it wasn't recorded."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A finished run, read from its folder.

    Parameters
    ----------
    folder : Path
        Where it lies.
    name : str
        By which it is told from the others.
    settings, record, metrics : dict
        What ``config.yaml``, ``manifest.json`` and ``metrics.json`` hold, with the names of now.
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    record: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def target(self) -> Mapping[str, Any]:
        """What is predicted; empty for two groups."""
        found: Mapping[str, Any] = self.metrics.get("target", {})
        return found

    @property
    def primary(self) -> Mapping[str, Any]:
        """The figure that the study is about: ``name``, ``title`` and what chance gives."""
        found: Mapping[str, Any] = self.target.get("primary", AUC)
        return found

    @property
    def question(self) -> str:
        """What the study asks, by which figure."""
        asked = str(self.target.get("title", "two groups"))
        return f"{asked}, by {self.primary['title']}"

    @property
    def studied(self) -> str:
        """Name of the network among the models."""
        return str(self.metrics.get("studied", NETWORK))

    @property
    def exported(self) -> str:
        """Name of the model that export takes."""
        return exported_model({"studied": self.studied} | self.metrics)

    @property
    def linear(self) -> str:
        """Name of the linear model that reached most; empty if there is none."""
        kinds = self.metrics.get("kinds", {})
        reached = {name: self.reached(name).value for name in self.metrics["models"]}
        rivals = {
            name: value
            for name, value in reached.items()
            if value is not None and kinds.get(name) in RIVALS
        }
        return max(rivals, key=lambda name: rivals[name]) if rivals else ""

    def title(self, model: str) -> str:
        """Name a model as reports do."""
        return name_of(model, self.metrics.get("titles", {}))

    def reached(self, model: str) -> Reached:
        """Find what a model reached out of fold, by the figure that the study is about."""
        figures, name = self.metrics["models"].get(model, {}), self.primary["name"]
        return Reached(figures.get(name), *(figures.get(f"{name}_ci") or (None, None)))

    @property
    def corrected(self) -> Reached:
        """What the exported model reached, corrected for its having been chosen where it was."""
        if not is_corrected(self.metrics):
            return self.reached(self.exported)
        exported = self.metrics["exported"]
        return Reached(exported["auc_corrected"], *exported["auc_corrected_ci"])

    @property
    def p(self) -> float | None:
        """P-value of the exported model, of permutations that allow for its choice; or None."""
        tested = self.metrics.get("permutation", {}).get("models", {})
        own = self.metrics.get("exported", {}).get("p", tested.get(self.exported, {}).get("p"))
        return None if own is None else float(own)

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        said = self.metrics.get("verdict", "")
        return said if isinstance(said, str) else " ".join(stopped(one["text"]) for one in said)

    @property
    def red(self) -> list[str]:
        """Findings that explain or undo the result."""
        target = [*self.metrics.get("audit", {}).get("said", [])] if self.target else []
        found = [*self.metrics.get("findings", []), *target]
        return list(dict.fromkeys(one["text"] for one in found if one["severity"] == "red"))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Out-of-fold scores of the network of a study of two groups, with families as units."""
        text = {"participant_id": str, "scan_id": str, "model": str}
        table = pd.read_csv(self.folder / "predictions.tsv", sep="\t", dtype=text)
        table["model"] = table["model"].replace(EARLIER_NETWORK, NETWORK)
        own = table[table["model"] == self.studied].sort_values(["repeat", "fold", "scan_id"])
        people = pd.read_csv(
            self.folder / "participants.tsv", sep="\t", dtype=str, keep_default_na=False
        ).set_index("participant_id")
        family = people["family"].replace("n/a", "") if "family" in people else pd.Series(dtype=str)
        unit = own["participant_id"].map(
            lambda one: family.get(one, "") and f"family-{family[one]}"
        )
        return own.assign(unit=unit.where(unit != "", own["participant_id"])).reset_index(drop=True)

    def is_paired(self, other: "ComparedRun") -> bool:
        """Tell whether the networks of two runs scored the same people in the same folds.

        People are the same where the hash of the scans is, or else the table of participants, as
        where another contrast of theirs was studied: made-up people of two seeds have the same
        names.
        """
        columns = ["repeat", "fold", "participant_id", "scan_id", "label"]
        if self.target or other.target or not self.scores[columns].equals(other.scores[columns]):
            return False
        stated = self.record.get("data_sha256")
        tables = [(run.folder / "participants.tsv").read_bytes() for run in (self, other)]
        is_same_data = stated is not None and stated == other.record.get("data_sha256")
        return is_same_data or tables[0] == tables[1]


def find_runs(places: Sequence[Path]) -> tuple[list[ComparedRun], list[Fault]]:
    """Read the runs that are named, or lie in folders that are: those of a sweep.

    Parameters
    ----------
    places : sequence of Path
        Run folders, and folders of runs.

    Returns
    -------
    runs : list of ComparedRun
        In the order given, those of a folder by name; each once.
    left_out : list of Fault
        Runs within folders that are not finished or can't be read.

    Raises
    ------
    RunError
        With all that is wrong with runs that were named, or if fewer than two are left.
    """
    faults: list[Fault] = []
    left_out: list[Fault] = []
    folders: dict[Path, list[Fault]] = {}
    for place in places:
        if _is_run(place):
            folders.setdefault(place.resolve(), faults)
            continue
        within = sorted(_runs_below(place), key=_by_number)
        if not within:
            found = "no run in it" if place.is_dir() else "no such folder"
            faults.append(Fault(str(place), found, "a run, or a folder of runs", "correct it"))
        for folder in within:
            folders.setdefault(folder.resolve(), left_out)
    names, runs = short_names(list(folders)), []
    for folder, blame in folders.items():
        try:
            runs.append(read_run(folder, names[folder]))
        except RunError as error:
            blame += error.faults
    if faults:
        raise RunError(faults)
    if len(runs) < 2:
        where = ", ".join(map(str, places))
        found = f"{len(runs)} finished run{'' if len(runs) == 1 else 's'}"
        own = Fault(where, found, "two or more", "name further runs, or finish those")
        raise RunError([own, *left_out])
    return runs, left_out


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (".fmnet-run", "metrics.json"))


def _runs_below(place: Path, depth: int = DEPTH) -> Iterable[Path]:
    if not place.is_dir() or depth == 0:
        return
    for folder in place.iterdir():
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
            if _is_run(folder):
                yield folder
            else:
                yield from _runs_below(folder, depth - 1)


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Sort job 2 before job 10."""
    return [(int(part or 0), rest) for part, rest in re.findall(r"(\d*)(\D*)", str(folder))]


def short_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Name folders by what tells them apart: their paths below the folder that holds them all."""
    if len(folders) < 2:
        return {folder: folder.name for folder in folders}
    above = Path(os.path.commonpath(folders))
    return {one: one.relative_to(above).as_posix() if one != above else "." for one in folders}


def read_run(folder: Path, name: str) -> ComparedRun:
    """Read a finished run, of whatever version, after its files were compared with their hashes.

    Raises
    ------
    RunError
        If it isn't finished, or with all files that are damaged.
    """
    if not (folder / "metrics.json").is_file():
        found, action = "a run without metrics.json", "repeat its command, which goes on with it"
        raise RunError(Fault(str(folder), found, "a finished run", action))
    check_run_files(folder, READ)
    metrics = read_json(folder / "metrics.json")
    if EARLIER_NETWORK in metrics.get("models", {}):
        metrics = rename_network(metrics)
    path = folder / "manifest.json"
    try:
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        settings = current_config({str(key): one for key, one in dict(config or {}).items()})  # type: ignore[arg-type]
        run = ComparedRun(folder, name, settings, read_json(path) if path.exists() else {}, metrics)
        # what a page is made of, so that what is damaged is told here
        _ = (run.question, run.linear, run.corrected, run.p, run.verdict, run.red)
        _ = () if run.target else run.scores
    except (
        AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError,
        OmegaConfBaseException,
    ) as error:  # fmt: skip
        found = f"files that can't be read ({type(error).__name__}: {error})".splitlines()[0]
        action = "restore it from a copy, or leave it out"
        raise RunError(Fault(str(folder), found, "a run as fmnet wrote it", action)) from error
    return run
