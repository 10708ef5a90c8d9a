"""`BoldContract`: how preprocessed BOLD runs become what a bundle reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from fmnet.bold.settings import CleaningSettings, Strategy
from fmnet.deploy.fields import COUNT, POSITIVE, TEXT, list_of, one_of, optional, read_fields

CONTRACT = "bold.json"
#: What is relied on of bold.json.
FIELDS = {
    "t_r": POSITIVE,
    "maps": list_of(TEXT, may_be_empty=True),
    "cleaning.strategy": one_of(get_args(Strategy)),
    "cleaning.low_hz": optional(POSITIVE),
    "cleaning.high_hz": optional(POSITIVE),
    "cleaning.scrub_mm": optional(POSITIVE),
    "cleaning.min_volumes": COUNT,
}
#: What is taken out of runs, in words.
TAKEN_OUT: dict[Strategy, str] = {
    "none": "drift",
    "motion6": "drift and 6 motion parameters",
    "motion24": "drift and 24 motion parameters",
    "motion24_wm_csf": "drift, 24 motion parameters, white matter and CSF",
    "motion24_wm_csf_global": "drift, 24 motion parameters, white matter, CSF and global signal",
    "compcor": "drift, 24 motion parameters and anatomical components",
}


@dataclass(frozen=True)
class BoldContract:
    """What is done to runs before the preparation.

    Parameters
    ----------
    cleaning : CleaningSettings
        How they are cleaned.
    maps : tuple of str
        Maps that are made of them, see `fmnet.bold.maps.parse_maps`; empty where the network reads
        the cleaned series itself.
    t_r : float
        Repetition time in seconds that runs have to have.
    """

    cleaning: CleaningSettings
    maps: tuple[str, ...]
    t_r: float

    @property
    def needs_confounds(self) -> bool:
        """Tell whether runs without a confounds file can't be cleaned."""
        return self.cleaning.strategy != "none" or self.cleaning.scrub_mm is not None

    def words(self, space: str, task: str = "") -> str:
        """Say what goes in, for the middle of a sentence; several tasks are not named."""
        what = f"a preprocessed BOLD run{f' of task {task}' if task else ''}"
        confounds = " with its confounds" if self.needs_confounds else ""
        return (
            f"{what} in {space} space{confounds}, T_R {self.t_r:g} s, cleaned of "
            f"{TAKEN_OUT[self.cleaning.strategy]}{_band(self.cleaning)}{_scrubbing(self.cleaning)}"
        )


def write_contract(contract: BoldContract, folder: Path) -> None:
    """Write ``bold.json``."""
    whole = json.dumps(asdict(contract), indent=2, allow_nan=False)
    (folder / CONTRACT).write_text(f"{whole}\n", "utf-8")


def read_contract(folder: Path) -> BoldContract | None:
    """Read what `write_contract` wrote; None if there is no such file, as where maps go in.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    if not (folder / CONTRACT).exists():
        return None
    fields = read_fields(folder / CONTRACT, FIELDS)
    names = (name.removeprefix("cleaning.") for name in FIELDS if name.startswith("cleaning."))
    cleaning = CleaningSettings(**{name: fields["cleaning"].get(name) for name in names})
    return BoldContract(cleaning, tuple(fields["maps"]), float(fields["t_r"]))


def _band(cleaning: CleaningSettings) -> str:
    low, high = cleaning.low_hz, cleaning.high_hz
    if low is not None and high is not None:
        return f", kept from {low:g} to {high:g} Hz"
    if low is not None:
        return f", kept above {low:g} Hz"
    return "" if high is None else f", kept below {high:g} Hz"


def _scrubbing(cleaning: CleaningSettings) -> str:
    if cleaning.scrub_mm is None:
        return ""
    return f", without volumes of more than {cleaning.scrub_mm:g} mm framewise displacement"
