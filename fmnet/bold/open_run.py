"""Runs as acquired, with their confounds: what maps are computed from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.cleaning import check_preprocessed, clean_values
from fmnet.bold.confounds import Nuisance
from fmnet.bold.decoded import StoredRun
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.store import Job
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class MapSource:
    """A run as stored, with its confounds and how it is to be cleaned: what maps are made from.

    Parameters
    ----------
    run : PreprocessedRun
        Names and files.
    stored : StoredRun
        The values as acquired, in a mask.
    nuisance : Nuisance
        Its confounds.
    cleaning : CleaningSettings
        How it is cleaned.
    """

    run: PreprocessedRun
    stored: StoredRun
    nuisance: Nuisance
    cleaning: CleaningSettings

    @property
    def grid(self) -> Grid:
        """Where the V voxels lie."""
        return self.stored.grid

    @property
    def t_r(self) -> float:
        """Repetition time in seconds."""
        return self.stored.t_r

    def cleaned(self) -> FloatArray:
        """Clean the run within its band: (T_kept, V), percent of the mean."""
        return clean_values(self.stored, self.nuisance, self.cleaning)

    def unfiltered(self) -> FloatArray:
        """Clean the run without limiting its band: (T_kept, V), percent of the mean."""
        settings = replace(self.cleaning, low_hz=None, high_hz=None)
        return clean_values(self.stored, self.nuisance, settings)


@dataclass(frozen=True, eq=False)
class AcquiredBold:
    """Recipe: decode a run and check its confounds, without storing cleaned values.

    Parameters
    ----------
    of : CleanedBold
        Grid, coverage and how it is to be cleaned.
    """

    of: CleanedBold

    @property
    def grid(self) -> Grid:
        """Where runs are put."""
        return self.of.grid

    def store(self, run: PreprocessedRun, job: Job) -> MapSource:
        """Fetch a run as acquired, with its confounds."""
        nuisance = check_preprocessed(run, self.of.cleaning)
        return MapSource(run, self.of.decoded.store(run.bold, job), nuisance, self.of.cleaning)


class OpenRun:
    """A run while its maps are made; what it holds goes with it.

    Parameters
    ----------
    source : MapSource
        The run.
    """

    def __init__(self, source: MapSource) -> None:
        self.source = source
        self._done: dict[str, Any] = {}

    @property
    def run_id(self) -> str:
        """The run's own name."""
        return self.source.run.bold.run_id

    @property
    def n_kept(self) -> int:
        """Volumes that are left without non-steady and scrubbed ones."""
        return len(self.source.nuisance.kept)

    def cleaned(self) -> FloatArray:
        """See `MapSource.cleaned`."""
        return self.once("cleaned", self.source.cleaned)

    def unfiltered(self) -> FloatArray:
        """See `MapSource.unfiltered`."""
        return self.once("unfiltered", self.source.unfiltered)

    def once(self, name: str, work: Callable[[], Result]) -> Result:
        """Do `work` the first time that this name is asked for, and remember what comes of it."""
        if name not in self._done:
            self._done[name] = work()
        result: Result = self._done[name]
        return result

    def refusal(
        self, found: str, accepted: str, action: str, file: Path | None = None
    ) -> VolumeError:
        """Describe why the run can't be used, by its name and, if given, one of its files."""
        where = self.run_id if file is None else f"{self.run_id} ({file})"
        person = self.source.run.bold.participant_id
        return VolumeError(Fault(where, found, accepted, action, person))
