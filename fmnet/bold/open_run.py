"""A run in use: what several maps need of it is worked out once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fmnet.bold.map_source import MapSource
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

Result = TypeVar("Result")


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
