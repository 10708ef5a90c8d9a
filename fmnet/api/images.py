"""Images as people hold them in Python: paths, nibabel images, tables; made into files on disk."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.sparse import issparse

from fmnet.data.bids import describe
from fmnet.data.image_files import SUFFIXES
from fmnet.data.nifti import is_image, volumes_of, write_copy
from fmnet.errors import Fault, FmnetError, InputError

#: What `images` may be, for messages.
ACCEPTED = (
    "paths, nibabel images, a DataFrame (participant_id, path), a table (.tsv, .csv) or a BIDS "
    "folder"
)
TABLES = (".tsv", ".csv")


@dataclass(frozen=True)
class ImageFile:
    """An image on disk: what it is called to its owner, and where it lies.

    Both are the same for images that were given as paths.
    """

    name: str
    path: Path


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for images that were in memory; what is wrong with them is told without it."""
    with tempfile.TemporaryDirectory(prefix="fmnet-") as folder:
        try:
            yield Path(folder)
        except FmnetError as error:
            raise type(error)([_without(fault, folder) for fault in error.faults]) from error


def _without(fault: Fault, folder: str) -> Fault:
    told = {key: text.replace(f"{folder}/", "") for key, text in asdict(fault).items()}
    return Fault(**told)


def is_place(images: Any) -> bool:
    """Tell a folder or a table of images, which fmnet reads by itself."""
    if not isinstance(images, str | Path):
        return False
    return Path(images).is_dir() or Path(images).suffix.lower() in TABLES


def listed(images: Any, splits: bool = True) -> list[tuple[Any, ...]]:
    """List scans, each a tuple of its images, one for each contrast; nothing is opened.

    A 4-D nibabel image is one scan for each volume, where it `splits`.

    Raises
    ------
    InputError
        If it is nothing that images can be given as, or there is none.
    """
    if isinstance(images, str | Path):
        return [(images,)]
    if is_image(images):
        return [(one,) for one in (volumes_of(images) if splits else [images])]
    if issparse(images) or not isinstance(images, Iterable):
        sparse = "sparse data, " if issparse(images) else ""
        raise _refuse(f"{sparse}{type(images).__name__}")
    scans = []
    for number, one in enumerate(images):
        own = tuple(one) if isinstance(one, list | tuple) else (one,)
        wrong = [part for part in own if not (isinstance(part, str | Path) or is_image(part))]
        if wrong or not own:
            kind = type(wrong[0]).__name__ if wrong else "nothing"
            raise _refuse(f"{kind} as image {number + 1}")
        scans.append(own)
    if not scans:
        raise _refuse("no image")
    return scans


def _refuse(found: str) -> InputError:
    action = "give images of brains: numbers without a place in the brain can't be used"
    return InputError(Fault("images", found, ACCEPTED, action))


def on_disk(scans: Sequence[Sequence[Any]], folder: Path) -> list[tuple[ImageFile, ...]]:
    """Write images that are in memory below `folder`, each in a folder of its own; name all."""
    found = []
    for number, scan in enumerate(scans, start=1):
        files = []
        for place, one in enumerate(scan, start=1):
            if not is_image(one):
                files.append(ImageFile(str(one), Path(one)))
                continue
            own = one.get_filename()
            at = f"{number:04d}" if len(scan) == 1 else f"{number:04d}-{place}"
            stem = _stem(own) if own else f"image-{at}"
            path = folder / at / f"{stem}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_copy(one, path)
            files.append(ImageFile(str(own) if own else f"image {at.lstrip('0')}", path))
        found.append(tuple(files))
    return found


def arrange(
    files: tuple[ImageFile, ...], contrasts: Sequence[str], where: str
) -> tuple[ImageFile, ...]:
    """Put the images of a scan in the order of contrasts, where all their names state these.

    Raises
    ------
    InputError
        If there are more or fewer, or if a name states the contrast of another image.
    """
    if len(files) != len(contrasts):
        found, accepted = f"{len(files)} images for {where}", ", ".join(contrasts)
        raise InputError(Fault("images", found, accepted, "give one map of each contrast"))
    said = [
        name.entities.get("contrast", "") if (name := describe(Path(one.name))) else ""
        for one in files
    ]
    if sorted(said) == sorted(contrasts):
        return tuple(files[said.index(one)] for one in contrasts)
    for file, own, wanted in zip(files, said, contrasts, strict=True):
        if own != wanted and own in contrasts:
            found = f"an image for contrast '{wanted}' whose name says '{own}' ({file.name})"
            raise InputError(Fault("images", found, "one contrast", "correct order or name"))
    return files


def _stem(file: Any) -> str:
    """Name a file without its ending; that says which contrast, statistic and space it has."""
    name = Path(file).name
    ending = max((end for end in SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(ending)]
