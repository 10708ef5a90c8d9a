"""BOLD images of a BIDS tree by their names, and the files that belong to them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fmnet.bold.bold_file import LONGEST_T_R, SHORTEST_T_R, BoldRun
from fmnet.data.bids import BidsTree, read_entities, read_tree
from fmnet.data.files import read_json
from fmnet.data.listing import SETTINGS, Advice
from fmnet.data.tables import subject_key
from fmnet.errors import Fault, VolumeError

#: Volumes; then surfaces and CIFTI, which have no voxels to put on a grid.
VOLUMES = ("nii", "nii.gz")
ALL_IMAGES = (*VOLUMES, "dtseries.nii", "func.gii")
#: Entities of what software made of a run, and of what a run was put together from.
OUTPUT_ENTITIES = ("space", "cohort", "res", "den", "hemi", "label", "desc")
PART_ENTITIES = ("echo", "part")
#: No run begins later than this many seconds; NaN doesn't pass either.
LONGEST_START = 3600.0
ACCEPTED_T_R = f"RepetitionTime in seconds, {SHORTEST_T_R:g} to {LONGEST_T_R:g}"


@dataclass(frozen=True)
class BoldName:
    """A BOLD image as its name describes it.

    Parameters
    ----------
    path : Path
        Of the image; need not have content.
    entities : tuple of (str, str)
        In the order of the name, ``("sub", "01")`` first.
    extension : str
        In small letters, without the dot that it begins with.
    suffix : str
        What the name says last, in small letters: ``bold``.
    """

    path: Path
    entities: tuple[tuple[str, str], ...]
    extension: str
    suffix: str = "bold"

    def get(self, entity: str) -> str:
        """Value of an entity; empty if the name has none."""
        return dict(self.entities).get(entity, "")

    @property
    def participant_id(self) -> str:
        """Subject that it is of, with ``sub-``."""
        return f"sub-{self.get('sub')}"

    @property
    def run_id(self) -> str:
        """Entities of the run itself, as of all images that were made of it."""
        return self.stem((*OUTPUT_ENTITIES, *PART_ENTITIES))

    @property
    def output(self) -> str:
        """Space and resolution as fMRIPrep's ``--output-spaces`` writes them: ``NAME:res-2``."""
        res = f":res-{self.get('res')}" if self.get("res") else ""
        return f"{self.get('space')}{res}"

    def stem(self, without: tuple[str, ...]) -> str:
        """Join the entities of its name, but for those named."""
        return "_".join(f"{key}-{value}" for key, value in self.entities if key not in without)

    def stem_of(self, kept: tuple[str, ...]) -> str:
        """Join those entities of its name."""
        return "_".join(f"{key}-{value}" for key, value in self.entities if key in kept)

    def beside(self, name: str) -> Path | None:
        """Find a file in its folder, also one that is a link to content not fetched yet."""
        path = self.path.with_name(name)
        if path.exists() or path.is_symlink():
            return path
        lower = name.lower()  # SUB-01, .NII.GZ
        return next((one for one in _listed(path.parent) if one.name.lower() == lower), None)


def find_bold(root: Path) -> list[BoldName]:
    """List the BOLD images in `root` and below its ``sub-*``: volumes, surfaces and CIFTI."""
    return bold_of(read_tree(root, only_subjects=True))


def bold_of(tree: BidsTree) -> list[BoldName]:
    """List the BOLD images of a tree: volumes, surfaces and CIFTI."""
    names: list[BoldName] = []
    for image in sorted((*tree.images, *tree.others), key=lambda image: str(image.path)):
        name = parse_name(image.path)
        if image.participant_id and name.suffix == "bold" and name.extension in ALL_IMAGES:
            # subject and session may be stated by folders alone
            stated = {key: image.entities[key] for key in ("sub", "ses") if key in image.entities}
            missing = [(key, value) for key, value in stated.items() if not name.get(key)]
            names.append(replace(name, entities=(*missing, *name.entities)))
    return names


def parse_name(path: Path) -> BoldName:
    """Read the entities of a file's name."""
    stem, _, extension = path.name.partition(".")
    *parts, suffix = stem.split("_")
    entities = tuple(read_entities(parts).items())
    return BoldName(path, entities, extension.lower(), suffix.lower())


def find_subjects(root: Path) -> tuple[str, ...]:
    """List the subjects that have a folder ``sub-*``, sorted, with ``sub-``."""
    found = [path for path in _listed(root) if path.name[:4].lower() == "sub-"]
    return tuple(sorted({f"sub-{subject_key(path.name)}" for path in found if path.is_dir()}))


def _listed(folder: Path) -> list[Path]:
    """List a folder; nothing of one that isn't there or may not be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folder_of(root: Path, participant_id: str) -> Path:
    """Find a subject's folder, also one that is written otherwise, ``SUB-01``."""
    folder = root / participant_id
    if folder.is_dir():
        return folder
    key = subject_key(participant_id)
    named = (path for path in _listed(root) if path.name[:4].lower() == "sub-")
    return next((path for path in named if subject_key(path.name) == key), folder)


def inherited_files(root: Path, image: BoldName, ending: str) -> list[Path]:
    """Find the files that hold for an image by BIDS's inheritance, the nearest first.

    Parameters
    ----------
    root : Path
        Of the image's data set, or of the raw one that it comes from.
    image : BoldName
        What they are to hold for.
    ending : str
        Suffix and extension, ``bold.json``.

    Returns
    -------
    list of Path
        From the image's folder up to `root`; names hold none but entities of the image's.
    """
    subject = _folder_of(root, image.participant_id)
    session = [subject / f"ses-{image.get('ses')}"] if image.get("ses") else []
    own = [image.path.parent] if image.path.is_relative_to(root) else []
    folders = [*(folder / "func" for folder in session), subject / "func", *session, subject, root]
    found: list[Path] = []
    for folder in dict.fromkeys([*own, *folders]):
        names = [parse_name(path) for path in folder.glob(f"*{ending}")]
        holds = [name for name in names if set(name.entities) <= set(image.entities)]
        holds = [name for name in holds if name.path.name.split("_")[-1] == ending]
        holds.sort(key=lambda name: (-len(name.entities), name.path.name))
        found += [name.path for name in holds]
    return found


def find_raw(root: Path) -> Path | None:
    """Find the raw data set that a derivatives folder lies in: up to two folders above."""
    for folder in root.resolve().parents[:2]:
        is_dataset = (folder / "dataset_description.json").exists()
        if is_dataset and find_subjects(folder) and not is_derivative(folder):
            return folder
    return None


def is_derivative(root: Path) -> bool:
    """Tell whether a data set says that it was derived from another."""
    try:
        stated = read_json(root / "dataset_description.json")
    except VolumeError:
        return False
    return bool(stated.get("DatasetType") == "derivative")


@dataclass(frozen=True)
class PreprocessedRun:
    """A preprocessed run with the files that belong to it.

    Parameters
    ----------
    bold : BoldRun
        The image, its brain mask, its space, and ``t_r`` as the JSON sidecar states it (None
        without one); ``run_id`` is made of the BIDS entities that tell runs apart, for instance
        ``sub-01_ses-1_task-rest_run-1``.
    task : str
        Without ``task-``.
    session, run : str
        Without ``ses-`` and ``run-``; empty where the file name has none.
    confounds : Path or None
        fMRIPrep's ``desc-confounds_timeseries.tsv``.
    events : Path or None
        BIDS ``events.tsv``, beside the run or in the raw data set.
    start_time : float
        Seconds from the start of the events' clock to the first volume, as the sidecar states it:
        after slice timing correction, about half a repetition time.
    """

    bold: BoldRun
    task: str
    session: str = ""
    run: str = ""
    confounds: Path | None = None
    events: Path | None = None
    start_time: float = 0.0


def read_sidecars(image: BoldName, roots: Iterable[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Read the sidecars that hold for an image, the nearest first, data set by data set.

    Raises
    ------
    VolumeError
        With every sidecar that is damaged.
    """
    paths = [path for root in roots for path in inherited_files(root, image, "bold.json")]
    contents: list[tuple[Path, dict[str, Any]]] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            contents.append((path, read_json(path, "a sidecar")))
        except VolumeError as error:
            whose = image.participant_id
            faults += [replace(fault, participant_id=whose) for fault in error.faults]
    if faults:
        raise VolumeError(dict.fromkeys(faults))  # roots may lie inside one another
    return contents


def stated_t_r(
    image: BoldName, sidecars: list[tuple[Path, dict[str, Any]]], advice: Advice = SETTINGS
) -> float | None:
    """Find the repetition time in seconds that sidecars state; None where there is no sidecar.

    Raises
    ------
    VolumeError
        If there are sidecars and none states it, or the nearest that does states none that can be.
    """
    if not sidecars:
        return None
    stated = [(path, held["RepetitionTime"]) for path, held in sidecars if "RepetitionTime" in held]
    if not stated:
        is_sparse = any("VolumeTiming" in held for _, held in sidecars)
        found = "no RepetitionTime" + (" but VolumeTiming (uneven)" if is_sparse else "")
        raise _refused(image, sidecars[0][0], found, f"add it to the file, or {advice.raw}")
    path, value = stated[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(image, path, f"RepetitionTime {value!r}, no number", "correct the file")
    if not SHORTEST_T_R <= value <= LONGEST_T_R:
        is_ms = SHORTEST_T_R <= value / 1000 <= LONGEST_T_R
        found = f"RepetitionTime {value:g}" + (", probably milliseconds" if is_ms else "")
        raise _refused(image, path, found, "correct the file")
    return float(value)


def stated_start_time(image: BoldName, sidecars: list[tuple[Path, dict[str, Any]]]) -> float:
    """Find when the first volume was acquired, in seconds; 0 where no sidecar says so.

    Raises
    ------
    VolumeError
        If the nearest sidecar that states it states no number.
    """
    stated = [
        (path, held["StartTime"]) for path, held in sidecars if held.get("StartTime") is not None
    ]
    if not stated:
        return 0.0
    path, value = stated[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) < LONGEST_START:
        return float(value)
    accepted = "StartTime in seconds from the first pulse of the scanner, a number"
    fault = Fault(
        str(path), f"StartTime {value!r}", accepted, "correct the file", image.participant_id
    )
    raise VolumeError(fault)


def _refused(image: BoldName, path: Path, found: str, action: str) -> VolumeError:
    return VolumeError(Fault(str(path), found, ACCEPTED_T_R, action, image.participant_id))
