"""What a bundle takes of a run's folder `signature/`: maps, regions and ranges, but no people."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fmnet.errors import ExportError, Fault
from fmnet.export.evidence import METRICS
from fmnet.inference.bundle_files import (
    FOLDERS,
    SIGNATURE,
    read_bounded,
)
from fmnet.inference.signature_files import REGIONS
from fmnet.inference.study_people import PEOPLE
from fmnet.runs.run_folder import as_json, check_run_files, read_json

#: What a study says of its signature, in its folder and in a bundle's.
FACTS = "signature.json"
#: What goes into a bundle as it is; whatever else a study writes there may name files or people.
TAKEN = re.compile(
    r"[\w.-]+_statmap\.(nii\.gz|json)|regions_dseg\.(nii\.gz|json)|(clusters|regions)\.tsv"
)
#: How much of it a bundle takes.
ROOM = FOLDERS[SIGNATURE]
#: What is needed to explain a score.
NEEDED = (REGIONS, PEOPLE)
#: What of the facts goes into a bundle.
TOLD = (
    "model", "title", "is_drawn", "is_forced", "failed", "checks", "halves", "folds", "surrogate",
    "linear_fraction",
)  # fmt: skip
#: Checks in words, for the middle of a sentence.
CHECKS = {
    "above_chance": "the model is above chance",
    "halves": "disjoint halves of the cohort agree",
    "label_randomisation": "the map differs from those of permuted labels",
    "model_randomisation": "the map needs the learned parameters",
    "deletion": "without its voxels the model loses more than without others",
}


class GatheredSignature(NamedTuple):
    """What a bundle takes of a run's signature.

    ``facts`` are for its metadata, None where nobody has looked at which regions carry the model;
    ``files`` by their names within the folder.
    """

    facts: dict[str, Any] | None
    files: dict[str, bytes]


def gather_signature(run_dir: Path, model: str) -> GatheredSignature:
    """Read what a run says of which regions carry a model of that name.

    Raises
    ------
    ExportError
        If a stable signature lacks a file, or files are far too large.
    RunError
        If files of it are damaged.
    """
    folder = run_dir / SIGNATURE
    if not (folder / FACTS).is_file():
        return GatheredSignature(None, {})
    check_run_files(run_dir, [SIGNATURE])
    found = read_json(folder / FACTS)
    if found.get("model") != model or _is_outdated(run_dir, found):
        return GatheredSignature(None, {})
    failed = [str(name) for name in found.get("failed") or ()]
    is_stable = bool(found.get("is_drawn")) and not failed and not found.get("is_forced")
    facts = {
        "is_stable": is_stable,
        "words": stability_words(is_stable, failed, found.get("checks") or {}),
        "failed": failed,
        "files": [],
    }
    told = {name: found[name] for name in TOLD if name in found}
    files = {FACTS: as_json(told).encode()}
    if is_stable:
        files |= _read_taken(folder)
    facts["files"] = [f"{SIGNATURE}/{name}" for name in sorted(files)]
    return GatheredSignature(facts, files)


def _is_outdated(run_dir: Path, found: Mapping[str, Any]) -> bool:
    """Tell whether the run was gone on with since, without looking at its signature again."""
    path = run_dir / METRICS
    metrics = read_json(path) if path.exists() else {"signature": found}
    return bool((metrics.get("signature") or {}).get("asked") != found.get("asked"))


def stability_words(is_stable: bool, failed: list[str], checks: Mapping[str, Any]) -> str:
    """Say whether it is known which regions carry a signature, for the middle of a sentence.

    `checks` have an ``outcome`` each, by name.
    """
    named = {name: CHECKS.get(name, name.replace("_", " ")) for name in (*checks, *failed)}
    outcomes = {name: (check or {}).get("outcome") for name, check in checks.items()}
    passed = [named[name] for name, outcome in outcomes.items() if outcome == "passed"]
    skipped = [named[name] for name, outcome in outcomes.items() if outcome == "not examined"]
    if not is_stable:
        whys = (
            [f"it did not hold that {'; '.join(named[name] for name in failed)}"] if failed else []
        )
        whys += [f"it was not examined whether {'; '.join(skipped)}"] if skipped else []
        return f"no stable signature: {'. Also, '.join(whys)}" if whys else "no stable signature"
    words = f"checks passed: {'; '.join(passed) or 'those of the study'}"
    return f"{words}. Not examined: {'; '.join(skipped)}" if skipped else words


def _read_taken(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.iterdir()) if path.name in NEEDED]
    paths += [path for path in sorted(folder.iterdir()) if TAKEN.fullmatch(path.name)]
    names = {path.name for path in paths}
    if lacking := [name for name in NEEDED if name not in names]:
        raise _unfit(folder, f"no {' and no '.join(lacking)}")
    try:
        files = {path.name: read_bounded(path, ROOM.file_bytes) for path in paths}
    except OSError as error:
        raise _unfit(folder, str(error)) from error
    n_bytes = sum(map(len, files.values()))
    if len(files) >= ROOM.n_files or n_bytes > ROOM.all_bytes // 2:
        raise _unfit(folder, f"{len(files)} files of {n_bytes / 2**20:.0f} MiB together")
    return files


def _unfit(folder: Path, found: str) -> ExportError:
    accepted = "the maps, regions and ranges of a study, as it wrote them"
    action = "repeat the training command with overwrite=true"
    return ExportError(Fault(str(folder), found, accepted, action))
