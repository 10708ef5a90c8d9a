"""BOLD images of a BIDS tree by their names, and the files that belong to them."""

from dataclasses import dataclass, replace
from pathlib import Path

from fmnet.data.bids_tree import BidsTree, read_entities, read_tree
from fmnet.data.self_hashed import read_json
from fmnet.data.tables import subject_key
from fmnet.errors import VolumeError

#: Volumes; then surfaces and CIFTI, which have no voxels to put on a grid.
VOLUMES = ("nii", "nii.gz")
SURFACES = ("dtseries.nii", "func.gii")
#: Entities of what software made of a run, and of what a run was put together from.
OUTPUT_ENTITIES = ("space", "cohort", "res", "den", "hemi", "label", "desc")
PART_ENTITIES = ("echo", "part")


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
        """Whose it is, with ``sub-``."""
        return f"sub-{self.get('sub')}"

    @property
    def run_id(self) -> str:
        """What it shares with all that was made of the same run."""
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
    return bold_of(read_tree(root, only_people=True))


def bold_of(tree: BidsTree) -> list[BoldName]:
    """List the BOLD images of a tree: volumes, surfaces and CIFTI."""
    names = [
        _of_folder(parse_name(image.path), image.entities)
        for image in sorted((*tree.images, *tree.others), key=lambda image: str(image.path))
        if image.participant_id
    ]
    return [
        name for name in names if name.suffix == "bold" and name.extension in (*VOLUMES, *SURFACES)
    ]


def _of_folder(name: BoldName, entities: dict[str, str]) -> BoldName:
    """Say whose run it is, and of which session, where only its folders do."""
    said = [(key, entities[key]) for key in ("sub", "ses") if key in entities and not name.get(key)]
    return replace(name, entities=(*said, *name.entities)) if said else name


def parse_name(path: Path) -> BoldName:
    """Read the entities of a file's name."""
    stem, _, extension = path.name.partition(".")
    *parts, suffix = stem.split("_")
    entities = tuple(read_entities(parts).items())
    return BoldName(path, entities, extension.lower(), suffix.lower())


def find_people(root: Path) -> tuple[str, ...]:
    """Name everyone with a folder ``sub-*``, sorted."""
    found = [path for path in _listed(root) if path.name[:4].lower() == "sub-"]
    return tuple(sorted({f"sub-{subject_key(path.name)}" for path in found if path.is_dir()}))


def _listed(folder: Path) -> list[Path]:
    """List a folder; nothing of one that isn't there or may not be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folder_of(root: Path, person: str) -> Path:
    """Find a person's folder, also one that is written otherwise, ``SUB-01``."""
    folder = root / person
    if folder.is_dir():
        return folder
    key = subject_key(person)
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
    person = _folder_of(root, image.participant_id)
    session = [person / f"ses-{image.get('ses')}"] if image.get("ses") else []
    own = [image.path.parent] if image.path.is_relative_to(root) else []
    folders = [*(folder / "func" for folder in session), person / "func", *session, person, root]
    found: list[Path] = []
    for folder in dict.fromkeys([*own, *folders]):
        names = [parse_name(path) for path in folder.glob(f"*{ending}")]
        holds = [name for name in names if set(name.entities) <= set(image.entities)]
        holds = [name for name in holds if name.path.name.split("_")[-1] == ending]
        found += [name.path for name in sorted(holds, key=_nearness)]
    return found


def _nearness(name: BoldName) -> tuple[int, str]:
    return -len(name.entities), name.path.name


def find_raw(root: Path) -> Path | None:
    """Find the raw data set that a derivatives folder lies in: up to two folders above."""
    for folder in root.resolve().parents[:2]:
        is_dataset = (folder / "dataset_description.json").exists()
        if is_dataset and find_people(folder) and not is_derivative(folder):
            return folder
    return None


def is_derivative(root: Path) -> bool:
    """Tell whether a data set says that it was derived from another."""
    try:
        stated = read_json(root / "dataset_description.json")
    except VolumeError:
        return False
    return bool(stated.get("DatasetType") == "derivative")
