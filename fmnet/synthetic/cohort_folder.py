"""Folders of synthetic cohorts: marked as made up, and whole or not there at all."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.data.bids import SYNTHETIC_MARK
from fmnet.data.files import draft_folder, keep_folder, why_not_written
from fmnet.data.tables import write_table
from fmnet.errors import CohortError, Fault
from fmnet.synthetic.design import Parameters

#: The template that nilearn carries.
SPACE = "MNI152NLin2009aSym"
#: Written last: a folder without it is not a cohort.
DESCRIPTION = "dataset_description.json"

COLUMNS: dict[str, dict[str, Any]] = {
    "group": {
        "Description": "SYNTHETIC group",
        "Levels": {"FM": "fibromyalgia", "HC": "healthy control"},
    },
    "age": {"Description": "age, matched between the groups", "Units": "years"},
    "sex": {"Description": "sex, matched", "Levels": {"F": "female", "M": "male"}},
    "site": {"Description": "scanner site"},
    "pain_score": {"Description": "clinical pain, from 0 (none) to 100 (worst imaginable)"},
    "mean_framewise_displacement": {"Description": "head motion", "Units": "mm"},
}


def provide_cohort(
    root: Path,
    design: Parameters,
    words: str,
    readme: str,
    files_of: Callable[[str], Iterable[str]],
    write: Callable[[Path], pd.DataFrame],
    described: Mapping[str, Mapping[str, Any]] = COLUMNS,
) -> Path:
    """Write a cohort's folder, or leave the one that is there if it holds the same.

    Parameters
    ----------
    root : Path
        The folder; may be missing, empty, or hold the same cohort.
    design : Parameters
        What the cohort is made of.
    words, readme : str
        What the folder says about itself, in one sentence and at length.
    files_of : callable
        Names the files of a subject, relative to the folder, without which it isn't complete.
    write : callable
        Writes the files of all subjects into an empty folder; returns the participants table.
    described : dict
        What each of its columns means, for participants.json.

    Raises
    ------
    CohortError
        If the folder holds anything else or can't be written.
    """
    made_by = {
        "Name": "fmnet",
        "Description": words,
        "Format": design.FORMAT,
        "Parameters": design.parameters,
    }
    description = {
        "Name": SYNTHETIC_MARK,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
    }
    target = root.resolve()
    try:
        if _is_free(root):
            with draft_folder(target) as draft:
                participants = write(draft)
                write_table(participants, draft / "participants.tsv")
                columns = {name: dict(described[name]) for name in participants.columns[1:]}
                write_json(columns, draft / "participants.json")
                (draft / "README").write_text(readme, encoding="utf-8")
                write_json(description, draft / DESCRIPTION)
                try:
                    keep_folder(draft, target)
                    return root
                except OSError:
                    if _is_free(target):
                        raise
        # there was something, or another run was faster
        if _is_same(target, description, files_of):
            return root
    except OSError as error:
        found = why_not_written(error, root)
        accepted = "a folder that can be written, with room for the cohort"
        raise CohortError(Fault(str(root), found, accepted, "choose another folder")) from error
    found = "a file of that name" if root.is_file() else "a folder that holds something else"
    accepted = "a new or empty folder, or one with the finished cohort of the same parameters"
    action = "choose another folder, or remove what is there if nobody needs it"
    raise CohortError(Fault(str(root), found, accepted, action))


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _is_free(root: Path) -> bool:
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def _is_same(
    root: Path, description: dict[str, Any], files_of: Callable[[str], Iterable[str]]
) -> bool:
    """Tell whether the folder holds this very cohort, finished and complete."""
    try:
        text = (root / DESCRIPTION).read_text(encoding="utf-8")
        table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str)
        stated = json.loads(text.replace('"Knobs":', '"Parameters":'))  # of earlier versions
    except (OSError, ValueError):
        return False
    ids = [str(subject) for subject in table.get("participant_id", ())]
    return (
        stated == description
        and len(ids) == description["GeneratedBy"][0]["Parameters"]["n_subjects"]
        and all((root / file).is_file() for subject in ids for file in files_of(subject))
    )
