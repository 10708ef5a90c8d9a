"""One run with everything that maps are made from."""

from dataclasses import dataclass, replace

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaning import clean_values
from fmnet.bold.confounds import CleaningSettings, Nuisance
from fmnet.bold.stored_run import StoredRun
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray


@dataclass(frozen=True, eq=False)
class MapSource:
    """A run as stored, with its confounds and how it is to be cleaned.

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
