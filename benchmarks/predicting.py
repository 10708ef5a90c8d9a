"""How long ``fmnet-predict`` takes to answer, beside the least that any prediction takes."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.fresh_process import CommandCost, measure_command
from benchmarks.new_maps import native_grid, write_new_scans
from benchmarks.race import Goal, growth, race, write_results
from fmnet.data.grid import Grid
from fmnet.errors import BenchmarkError, Fault
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.predict import NewScan, Request, predict_scan
from fmnet.types import Count, Seed

RIVALS = Path(__file__).parent / "rivals"
#: What the installed command ``fmnet-predict`` runs.
COMMAND = [
    sys.executable,
    "-c",
    "from fmnet.inference.cli import main; raise SystemExit(main())",
]
FMNET, REFERENCE, LEAST = "fmnet-predict", "decode, resample (nilearn)", "decode, resample (SciPy)"
#: How much longer than decoding and resampling with nilearn an answer may take.
MAX_RATIO = 1.5
#: What many maps are compared with besides, and the names of the figures of a command.
OWN, COSTS = "decode, resample (fmnet)", ("seconds", "cpu_seconds", "peak_mb")
ALONE = f"{FMNET}, one process"
#: Gates may tell made-up scans from people's; what is forced takes as long as what passes.
FORCED = Request(is_forced=True)
#: Scans by which the time of a warm process is followed, in multiples of the smallest number.
MULTIPLES = (1, 4, 16)
#: How steeply that time may grow.
MAX_EXPONENT = 1.1


@dataclass(frozen=True)
class Predicting:
    """Time from the command to the answers for one scan and for many, and memory.

    Files are in the page cache when they are timed: a first call after the machine's start also
    waits for its disk.

    Parameters
    ----------
    bundle : str
        The signature; its scans are made up.
    n_rounds : int
        How often each rival runs.
    n_scans : int
        How many are made up. For as many a warm process is timed; also for 4 and 16 times as many.
    n_maps : list of int
        For how many maps a command is timed from its start to the last answer, and its memory is
        watched: the made-up scans, under as many names.
    n_turns : int
        How often that is done.
    seed : int
        Of the made-up scans.
    """

    bundle: str = "checkpoints/synthetic"
    n_rounds: Count = 7
    n_scans: Count = 16
    n_maps: Sequence[Count] = (1, 100, 500)
    n_turns: Count = 3
    seed: Seed = 0

    def run(self, out: Path) -> list[str]:
        """Write one table per question and grid; return tables and goals in words."""
        bundle = read_bundle(Path(self.bundle))
        space = bundle.metadata["input"]["space"]
        own = bundle.preparation.grid
        grids = {"own grid": replace(own, space=space), "2 mm grid": native_grid(space)}
        tables: dict[str, pd.DataFrame] = {}
        goals: list[Goal] = []
        with tempfile.TemporaryDirectory(prefix="fmnet-predict-") as folder:
            for name, grid in grids.items():
                scans = self._scans(bundle, grid, Path(folder) / name)
                key = name.replace(" ", "_")
                tables[f"cold_start_{key}"], cold = self._cold_start(scans[0], name)
                tables[f"warm_{key}"], warm = self._warm(bundle, scans, name)
                tables[f"many_{key}"], many = self._many(scans, Path(folder) / f"{key}_named", name)
                goals += [cold, warm, *many]
        return write_results(out, tables, goals, asdict(self))

    def _scans(self, bundle: Bundle, grid: Grid, folder: Path) -> list[NewScan]:
        scans = write_new_scans(bundle, grid, folder, self.n_scans, self.seed)
        for scan in scans:  # a refusal is no answer, and quicker
            if (prediction := predict_scan(bundle, scan, FORCED)).score is None:
                raise _failed(scan.name, prediction.reason)
        return scans

    def _cold_start(self, scan: NewScan, grid: str) -> tuple[pd.DataFrame, Goal]:
        table = race(cold_rivals(self.bundle, scan), self.n_rounds, f"cold start, {grid}")
        (ratio,) = table.loc[table["rival"] == FMNET, "ratio"].tolist()
        what = f"one scan from command to answer, {grid}, over decoding and resampling with nilearn"
        return table, Goal(what, ratio, MAX_RATIO, is_floor=False)

    def _warm(self, bundle: Bundle, scans: list[NewScan], grid: str) -> tuple[pd.DataFrame, Goal]:
        sizes = [multiple * len(scans) for multiple in MULTIPLES]
        rivals = {str(n): partial(_predict_all, bundle, scans, n) for n in sizes}
        table = race(rivals, self.n_rounds, f"warm, {grid}").drop(columns=["rival", "ratio"])
        exponent = growth(sizes, table["seconds"].tolist())
        table.insert(0, "scans", sizes)
        table["scans_per_second"] = np.array(sizes) / table["seconds"]
        what = f"exponent of time over number of scans, {grid}, warm"
        return table, Goal(what, exponent, MAX_EXPONENT, is_floor=False)

    def _many(
        self, scans: list[NewScan], folder: Path, grid: str
    ) -> tuple[pd.DataFrame, list[Goal]]:
        """Compare commands that answer for many maps with decoding and resampling alone."""
        folder.mkdir()
        maps = [
            _named(scans[number % len(scans)], folder / f"{number:03d}")
            for number in range(max(self.n_maps))
        ]
        costs: dict[tuple[int, str], list[CommandCost]] = {}
        for turn, n in product(range(self.n_turns + 1), self.n_maps):
            for rival, command in many_rivals(self.bundle, maps[:n]).items():
                cost = measure_command(command)
                if turn:  # the first warms the cache of files
                    costs.setdefault((n, rival), []).append(cost)
        rows = [
            {"maps": n, "rival": rival}
            | {name: float(np.median([getattr(one, name) for one in own])) for name in COSTS}
            for (n, rival), own in costs.items()
        ]
        table = pd.DataFrame(rows)
        least = table.set_index(["maps", "rival"]).xs(REFERENCE, level="rival")
        for name in ("seconds", "peak_mb"):
            table[f"{name}_ratio"] = table[name] / least[name].loc[table["maps"]].to_numpy()
        records = table[table["rival"].isin([FMNET, ALONE])].to_dict("records")
        goals = [
            Goal(
                f"{row['maps']} maps, {grid}: {what} of {row['rival']} over nilearn's",
                row[f"{name}_ratio"],
                MAX_RATIO,
                is_floor=False,
            )
            for what, name in (("seconds", "seconds"), ("memory", "peak_mb"))
            for row in records
        ]
        return table, goals


def many_rivals(bundle: str, scans: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """List the commands that are compared for scans, each given by its maps."""
    maps, asked = [path for scan in scans for path in scan], [",".join(scan) for scan in scans]
    return {
        REFERENCE: [*_rival("nilearn_resampling"), bundle, *maps],
        OWN: [*_rival("fmnet_resampling"), bundle, *maps],
        FMNET: [*COMMAND, bundle, "--force", *asked],
        ALONE: [*COMMAND, bundle, "--force", "--jobs", "1", *asked],
    }


def _named(scan: NewScan, folder: Path) -> list[str]:
    """Give a scan's maps further names."""
    folder.mkdir()
    names = [folder / file.name for file in scan.files]
    for file, name in zip(scan.files, names, strict=True):
        name.hardlink_to(file)
    return list(map(str, names))


def cold_rivals(bundle: str, scan: NewScan) -> dict[str, Callable[[], None]]:
    """List what is compared, each in a fresh process; torch only where it is installed."""
    maps = list(map(str, scan.files))
    nilearn, scipy = _rival("nilearn_resampling"), _rival("scipy_resampling")
    commands = {
        REFERENCE: [*nilearn, bundle, *maps],
        FMNET: [*COMMAND, bundle, "--force", scan.name],
        "imports alone (nilearn)": [*nilearn, bundle],
        LEAST: [*scipy, bundle, *maps],
        "imports alone (SciPy)": [*scipy, bundle],
    }
    if find_spec("torch") and find_spec("monai") and (Path(bundle) / "model.pt2").is_file():
        commands["score (torch, MONAI)"] = [*_rival("torch_inference"), bundle, *maps]
    return {name: partial(_run, command) for name, command in commands.items()}


def _rival(name: str) -> list[str]:
    return [sys.executable, str(RIVALS / f"{name}.py")]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failed(" ".join(command), (done.stderr.splitlines() or ["no message"])[-1])


def _predict_all(bundle: Bundle, scans: list[NewScan], n: int) -> None:
    for number in range(n):
        predict_scan(bundle, scans[number % len(scans)], FORCED)


def _failed(where: str, found: str) -> BenchmarkError:
    accepted, action = "an answer", "run it by itself, or choose another suite.bundle"
    return BenchmarkError(Fault(where, found, accepted, action))
