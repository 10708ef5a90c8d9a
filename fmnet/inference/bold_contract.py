"""`BoldContract`: how preprocessed BOLD runs become what a bundle reads."""

import json
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, get_args

from fmnet.bold.settings import CleaningSettings, Strategy, band_of
from fmnet.earlier import current_cleaning
from fmnet.inference.bundle_files import (
    COUNT,
    POSITIVE,
    TEXT,
    list_of,
    one_of,
    optional,
    read_fields,
)

CONTRACT = "bold.json"
#: What is relied on of bold.json.
FIELDS = {
    "t_r": POSITIVE,
    "maps": list_of(TEXT, may_be_empty=True),
    "cleaning.strategy": one_of(get_args(Strategy)),
    "cleaning.low_hz": optional(POSITIVE),
    "cleaning.high_hz": optional(POSITIVE),
    "cleaning.fd_threshold": optional(POSITIVE),
    "cleaning.scrub_mm": optional(POSITIVE),  # of earlier bundles
    "cleaning.min_volumes": COUNT,
}
#: What is taken out of runs, in words.
TAKEN_OUT: dict[Strategy, str] = {
    "none": "drift",
    "motion6": "drift and 6 motion parameters",
    "motion24": "drift and 24 motion parameters",
    "motion24_wm_csf": "drift, 24 motion parameters and the means of white matter and CSF",
    "motion24_wm_csf_global": (
        "drift, 24 motion parameters and the means of white matter, CSF and the whole brain"
    ),
    "compcor": "drift, 24 motion parameters and anatomical components (aCompCor)",
}


@dataclass(frozen=True)
class BoldContract:
    """What is done to runs before the preparation.

    ``maps`` are made of them, see `fmnet.bold.settings.parse_map_names`; they are empty where the
    network reads the cleaned series itself. ``t_r``, in seconds, is what runs have to have.
    """

    cleaning: CleaningSettings
    maps: tuple[str, ...]
    t_r: float

    @property
    def needs_confounds(self) -> bool:
        """Tell whether runs without a confounds file can't be cleaned."""
        return self.cleaning.needs_confounds

    def words(self, space: str, task: str = "") -> str:
        """Say what has to be given, for the middle of a sentence; several tasks are not named."""
        what = f"a preprocessed BOLD run{f' of task {task}' if task else ''}"
        confounds = " with fMRIPrep's confounds" if self.needs_confounds else ""
        return f"{what} in {space} space{confounds}, repetition time {self.t_r:g} s"


def cleaning_words(cleaning: CleaningSettings) -> str:
    """Say what is done to a run, for the middle of a sentence: ``cleaned of drift, ...``."""
    said = f"cleaned of {TAKEN_OUT[cleaning.strategy]}"
    low, high = band_of(cleaning)  # not all that is asked for with cosines
    if low is not None and high is not None:
        said += f", band-pass filtered from {low:g} to {high:g} Hz"
    elif low is not None:
        said += f", high-pass filtered at {low:g} Hz"
    elif high is not None:
        said += f", low-pass filtered at {high:g} Hz"
    if cleaning.fd_threshold is None:
        return said
    return (
        f"{said}, without volumes of more than {cleaning.fd_threshold:g} mm framewise displacement"
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
    held = current_cleaning(fields["cleaning"])
    # one that isn't stated stands for no limit, whatever the default
    stated: dict[str, Any] = {one.name: held.get(one.name) for one in fields_of(CleaningSettings)}
    return BoldContract(CleaningSettings(**stated), tuple(fields["maps"]), float(fields["t_r"]))
