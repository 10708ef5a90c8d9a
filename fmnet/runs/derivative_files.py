"""The files by which a run folder is a derivative as BIDS has them."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fmnet
from fmnet.data.cohort import Cohort
from fmnet.data.derivative import (
    DESCRIPTION,
    IGNORE,
    describe_derivative,
    describe_source,
    ignore_lines,
    source_of,
)
from fmnet.errors import RunError
from fmnet.runs.run_folder import FILES, FOLDERS, README, as_json, read_json

#: What a validator reads of a run. A table of participants has to list folders sub-*, of which
#: there are none: results are about a cohort.
VALIDATED = (DESCRIPTION, README, IGNORE)
#: Tells a README of fmnet from one of people.
WRITTEN = "Written by fmnet."
IGNORED = "Results about a cohort, for which BIDS has no names; README.md says what they are."
#: What is in each file or folder of a run.
ABOUT = {
    "report.html": "verdict, figures, confounds, methods, who was left out; one page",
    "figure.png, brain.png": "the first figure; the regions, where there are any to be shown",
    "predictions.tsv": "scores out of fold, one row for each scan, repeat and model",
    "metrics.json": "every figure with its interval, findings and verdict",
    "cohort.tsv": "who was used or left out, and why; files with their SHA-256",
    "participants.tsv": "the people, as the table that was given describes them",
    "folds.tsv, seeds.tsv": "who was in which fold; scores under other seeds, if asked for",
    "config.yaml": "all settings",
    "manifest.json": "command, versions, machine, and hashes of data and code",
    "crossvalidation.json, bold.json": "what the folds chose; how BOLD runs became maps",
    "signature/": "which regions carry the model: NIfTI maps with sidecars, tables, checks",
    "model/, model_linear/": "the final network and linear model, for export",
    "permutations/, sensitivity/, learning_curve/": "further trainings, if asked for",
    "lockbox.tsv, lockbox.json": "people set aside, scored once, if that was asked for",
    "logs/": "logs of trainings",
    "SHA256SUMS": "hashes of all these; sha256sum -c SHA256SUMS compares them",
}


def derivative_files(cohort: Cohort, record: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write what a run folder says of itself: description, README, and what is not BIDS's.

    What people have added to the description, their names say, stays, and so does a README of
    theirs.

    Parameters
    ----------
    cohort : Cohort
        Of the study. The data sets that its scans lie in are the sources, each with a hash over
        those of its scans as its version.
    record : dict
        What ``manifest.json`` holds.
    folder : Path
        The run's.

    Returns
    -------
    dict of str
        Contents by name.
    """
    listing = cohort.listing
    what = "Results about people who don't exist" if listing.origin == "synthetic" else "Results"
    groups = listing.labels
    asked = f" of {groups.positive} against {groups.negative}" if groups.is_given else ""
    versions = record.get("versions", {})
    generated_by = {
        "Name": "fmnet",
        "Version": str(versions.get("fmnet", fmnet.__version__)),
        "Description": "Cross-validated networks and baselines; code with the SHA-256 "
        f"{record.get('code_sha256', 'unknown')}",
    }
    hashes: dict[Path, list[str]] = {}
    for scan, stored in zip(cohort.scans, cohort.stored, strict=True):
        if scan.files:
            hashes.setdefault(scan.files[0], []).extend(stored.source_sha256)
    sources = []
    for root, files in source_of(hashes).items():
        own = sorted(digest for file in files for digest in hashes[file])
        sha256 = hashlib.sha256("\n".join(own).encode()).hexdigest()
        sources.append(describe_source(root, f"sha256:{sha256} of the scans used"))
    name = f"fmnet study{asked}: {what}. Research use only"
    description, added = describe_derivative(name, generated_by, sources), dict[str, Any]()
    with suppress(RunError):
        added = read_json(folder / DESCRIPTION)
    ignored = [one for one in (*FILES, *FOLDERS) if one not in VALIDATED]
    described = {
        DESCRIPTION: as_json(description | added | description),
        IGNORE: ignore_lines(IGNORED, ignored),
    }
    readme = folder / README
    is_own = not readme.exists() or WRITTEN in readme.read_text("utf-8", "replace")
    return described | ({README: _readme(name)} if is_own else {})


def _readme(name: str) -> str:
    listed = "\n".join(f"- `{names}`: {what}" for names, what in ABOUT.items())
    return f"""# {name}

{WRITTEN} Nothing in this folder is a diagnosis, and none of it may be used for decisions
about a person's care. Begin with `report.html`.

{listed}

As BIDS has it this is a derivative: `{DESCRIPTION}` names the data sets that it comes from,
each with a SHA-256 over the sorted hashes of the scans used, which `cohort.tsv` lists file by file.
Results about a cohort have no names in BIDS; `{IGNORE}` lists them.

Before this folder is passed on: `{DESCRIPTION}`, `cohort.tsv`, `config.yaml` and `manifest.json`
hold paths of the machine, `participants.tsv` and `predictions.tsv` are about single people.
"""
