"""How fast BOLD runs are read: whole, in windows, and again; by us and by others."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from annotated_types import Len

from benchmarks.bold_files import make_run, make_runs, with_mask
from benchmarks.opening import SECOND, growth_row, opening_table, settle
from benchmarks.race import Goal, race, write_results
from benchmarks.readers import (
    MONAI,
    UNPACKING,
    absent_readers,
    whole_run_readers,
    window_readers,
)
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.decoded import DecodedBold
from fmnet.data.store import ArrayStore
from fmnet.types import Count, Counts, Several

#: Three counts, one for each axis.
ThreeCounts = Annotated[Sequence[Count], Len(3, 3)]
#: Sizes that differ by a factor of 16 show how cost grows.
FACTORS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Reading:
    """Read BOLD files beside the usual tools.

    Parameters
    ----------
    shape
        Voxels along x, y and z of the files that are read whole.
    n_volumes
        Their volumes: how far others fall behind depends on it.
    n_window : int
        Volumes that are read from the middle of the last of them.
    n_runs, n_run_volumes, run_shape
        Of the study that is opened a first and a second time.
    growth_volumes, growth_runs : int
        Smallest size when cost is measured over a factor of 16 in volumes or in runs.
    n_rounds : int
        How often each is timed.
    files : sequence of str
        4-D files of the user's to read whole in place of the file made.
    """

    shape: ThreeCounts = (91, 109, 91)
    n_volumes: Counts = (40, 200)
    n_window: Count = 20
    n_runs: Several = 72
    n_run_volumes: Several = 200
    run_shape: ThreeCounts = (31, 37, 31)
    growth_volumes: Several = 25
    growth_runs: Count = 4
    n_rounds: Count = 3
    files: Sequence[str] = ()

    def run(self, out: Path) -> list[str]:
        """Measure everything; tables in `out`, figures and goals in words."""
        with tempfile.TemporaryDirectory(prefix="fmnet-io-") as place:
            folder = Path(place)
            runs = self._runs_to_read(folder)
            races = [self._race_readers(run, folder / str(k)) for k, run in enumerate(runs)]
            tables = {
                "reading_one_run": pd.concat(races),
                "reading_a_window": self._race_windows(runs[-1], folder / "window"),
                "opening_a_study": self._open_study(folder),
                "growth_of_cost": self._grow(folder),
            }
        lines = write_results(out, tables, self._goals(races, tables), asdict(self))
        return [*lines, *absent_readers()]

    def _goals(self, races: list[pd.DataFrame], tables: dict[str, pd.DataFrame]) -> list[Goal]:
        goals = []
        for rows in races:
            file, ratio = rows["file"].iloc[0], rows.set_index("rival")["ratio"]
            share = 1 / ratio[UNPACKING]
            goals += [
                Goal(f"{file}: times as fast as MONAI's LoadImage", ratio[MONAI], 5),
                Goal(f"{file}: times as long as isal takes to unpack it", share, 1.3, False),
            ]
        window = tables["reading_a_window"]["ratio"].iloc[1]
        seconds = tables["opening_a_study"].set_index("rival")["seconds"]
        goals += [
            Goal("times as fast as slicing the .nii.gz for a window", float(window), 100),
            Goal("seconds to open the study a second time", float(seconds[SECOND]), 2, False),
        ]
        return goals + [
            Goal(f"cost of a {row['what']}, exponent", row["exponent"], 1.1, False)
            for row in tables["growth_of_cost"].to_dict("records")
        ]

    def _runs_to_read(self, folder: Path) -> list[BoldRun]:
        if not self.files:
            shape = _three(self.shape)
            return [make_run(folder / f"{n}-volumes.nii.gz", shape, n, n) for n in self.n_volumes]
        return [
            with_mask(Path(file), folder / f"mask-{number}.nii.gz")
            for number, file in enumerate(dict.fromkeys(self.files))
        ]

    def _race_readers(self, run: BoldRun, folder: Path) -> pd.DataFrame:
        """Time one file from disk to array; ours writes its store as well, anew each time."""
        stores = (ArrayStore(folder / str(number), DecodedBold()) for number in itertools.count())
        ours = {"fmnet, file to masked store": lambda: next(stores).add(run)}
        table = race(ours | whole_run_readers(run), self.n_rounds, "reading a run")
        table["volumes_per_s"] = (
            ArrayStore(folder / "0", DecodedBold()).add(run).n_volumes / table["seconds"]
        )
        table.insert(0, "file", str(run.path) if self.files else run.run_id)
        return table

    def _race_windows(self, run: BoldRun, folder: Path) -> pd.DataFrame:
        stored = ArrayStore(folder, DecodedBold()).add(run)
        n = min(self.n_window, stored.n_volumes)
        start = (stored.n_volumes - n) // 2
        ours = {"fmnet, from the store": lambda: stored.read_window(start, n)}
        return race(ours | window_readers(run, start, n), self.n_rounds, "reading a window")

    def _open_study(self, folder: Path) -> pd.DataFrame:
        runs = make_runs(folder / "study", self.n_runs, _three(self.run_shape), self.n_run_volumes)
        n_window = min(self.n_window, self.n_run_volumes)
        return opening_table(runs, folder / "opened", n_window, self.n_rounds)

    def _grow(self, folder: Path) -> pd.DataFrame:
        shape, volumes = _three(self.run_shape), self.growth_volumes
        many = make_runs(folder / "many", self.growth_runs * FACTORS[-1], shape, volumes)
        by_runs = {self.growth_runs * k: many[: self.growth_runs * k] for k in FACTORS}
        by_volumes = {
            volumes * k: [make_run(folder / f"{k}.nii.gz", shape, volumes * k, k)] for k in FACTORS
        }
        settle()
        rows = [
            ("first start with volumes", by_volumes, folder / "volumes", self.n_rounds, False),
            ("first start with runs", by_runs, folder / "runs", self.n_rounds, False),
            # each takes milliseconds, which others on the machine easily double
            ("second start with runs", by_runs, folder / "again", 10 * self.n_rounds, True),
        ]
        return pd.DataFrame([growth_row(*row) for row in rows])


def _three(counts: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = counts
    return x, y, z
