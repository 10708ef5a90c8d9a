"""What BIDS wants to know of a folder that was derived from a data set, and what isn't BIDS's."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fmnet.data.files import read_json
from fmnet.errors import VolumeError

#: Files of a data set, and the version of BIDS that they follow.
DESCRIPTION, IGNORE, BIDS_VERSION = "dataset_description.json", ".bidsignore", "1.10.0"


def describe_derivative(
    name: str, generated_by: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write the content of ``dataset_description.json`` of a derivative.

    Parameters
    ----------
    name : str
        Of the data set, for readers.
    generated_by : dict
        ``Name``, ``Version`` and ``Description`` of what wrote it.
    sources : sequence of dict
        From `describe_source`.
    """
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [dict(generated_by)],
        "SourceDatasets": [dict(one) for one in sources],
    }


def describe_source(root: Path, version: str = "") -> dict[str, str]:
    """Say where a source data set lies, by which DOI it is known, and in which version it was."""
    source = {"URL": Path(os.path.realpath(root)).as_uri()}
    with suppress(VolumeError):
        doi = read_json(root / DESCRIPTION).get("DatasetDOI")
        source |= {"DOI": doi} if isinstance(doi, str) else {}
    return source | ({"Version": version} if version else {})


def source_of(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Gather files by the data set that they lie in: the nearest folder that describes itself.

    Files that lie in none are of the folder that holds all of these.
    """
    found: dict[Path, list[Path]] = {}
    others, known = list[Path](), dict[Path, Path | None]()
    for file in files:
        folder = file.absolute().parent
        if folder not in known:
            above = (one for one in (folder, *folder.parents) if (one / DESCRIPTION).is_file())
            known[folder] = next(above, None)
        if (root := known[folder]) is None:
            others.append(file)
        else:
            found.setdefault(root, []).append(file)
    if others:
        found[Path(os.path.commonpath([file.absolute().parent for file in others]))] = others
    return found


def ignore_lines(said: str, patterns: Iterable[str]) -> str:
    """Write ``.bidsignore``: patterns of what BIDS has no names for, after a line that says so."""
    return "".join(f"{line}\n" for line in (f"# {said}", *patterns))
