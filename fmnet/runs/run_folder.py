"""The files of a run's folder: each is listed with its hash before it takes its name.

Whoever reads them back compares them first, so that a damaged file is refused by name and not taken
for a result. ``sha256sum -c SHA256SUMS`` does the same.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fmnet.data.derivative import DESCRIPTION, IGNORE
from fmnet.data.files import draft_folder, encoded, keep_folder, seal, unseal, write_atomically
from fmnet.errors import Fault, RunError
from fmnet.inference.bundle_files import CHECKSUMS, read_bounded, sha256_of

#: Most bytes of a file that is read back whole.
MAX_BYTES = 2**30
#: Says what the others are.
README = "README.md"
#: What a run writes, and so what a run that replaces another removes first.
FILES = (
    "config.yaml", "manifest.json", "cohort.tsv", "bold.json", "participants.tsv", "folds.tsv",
    "predictions.tsv", "seeds.tsv", "crossvalidation.json", "metrics.json", "figure.png",
    "brain.png", "report.html", "lockbox.tsv", "lockbox.json", DESCRIPTION,
    IGNORE, README, CHECKSUMS,
)  # fmt: skip
FOLDERS = (
    "logs", "model", "model_linear", "permutations", "sensitivity", "learning_curve", "signature",
)  # fmt: skip
#: In the names of folders of checkpoints, see `fmnet.runs.checkpoints`, and of unfinished files.
CHECKPOINTS, DRAFT = ".parts/", ".part"
#: Folders whose files aren't listed: logs grow as they like, permutations are sealed one by one.
UNLISTED = ("logs", "permutations")
#: What a study or a signature is made from; pages, pictures and descriptions may be written on.
_DRAWN = {
    "figure.png", "brain.png", "report.html", DESCRIPTION, IGNORE, README, CHECKSUMS,
}  # fmt: skip
RESULTS = (*(name for name in FILES if name not in _DRAWN), "model", "model_linear")
#: Where a new run's results wait until they are whole, and until they have taken their place.
NEW, READY = ".new", ".ready"
#: What is said of runs of before hashes were kept.
UNKNOWN = (
    f"nothing is known of the integrity of this run's files: it has no {CHECKSUMS}, which runs "
    "before fmnet kept hashes didn't write"
)
#: Names of files, and the hashes that each may have: two while it is being replaced.
Hashes = dict[str, tuple[str, ...]]


def write_run_files(
    run_dir: Path, contents: Mapping[str, str | bytes], obsolete: Iterable[str] = ()
) -> None:
    """Write files of a run, in order, and remove those that are `obsolete`.

    Their hashes are listed beforehand beside those of the files that they replace: whenever this
    is stopped, each file is whole and is the one listed.

    A name may have a folder before it.
    """
    hashes = _read_hashes(run_dir)
    if hashes is None:  # a run of before hashes were kept: from now on changes are seen
        hashes = {name: (sha256_of(run_dir / name),) for name in _present(run_dir)}
    new = {
        name: hashlib.sha256(encoded(content) if isinstance(content, str) else content).hexdigest()
        for name, content in contents.items()
    }
    both = {name: (*hashes.get(name, ()), digest) for name, digest in new.items()}
    _write_hashes(run_dir, hashes | both)
    for name, content in contents.items():
        (run_dir / name).parent.mkdir(exist_ok=True)
        write_atomically(run_dir / name, content)
    hashes = hashes | {name: (digest,) for name, digest in new.items()}
    for name in obsolete:
        (run_dir / name).unlink(missing_ok=True)
        hashes.pop(name, None)
    _write_hashes(run_dir, hashes)


def write_run_folder(run_dir: Path, name: str, write: Callable[[Path], None]) -> None:
    """Let a folder of a run be written beside its place, list its files and move it there.

    `write` is given an empty folder. Whatever has this name is replaced.
    """
    target = run_dir / name
    with draft_folder(target) as draft:
        write(draft)
        files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
        own = {f"{name}/{path.relative_to(draft).as_posix()}": (sha256_of(path),) for path in files}
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        write_run_files(run_dir, {})
        hashes = _read_hashes(run_dir) or {}
        others = {file: kept for file, kept in hashes.items() if not file.startswith(f"{name}/")}
        _write_hashes(run_dir, others | own)
        keep_folder(draft, target)


def list_damaged(run_dir: Path, names: Iterable[str]) -> dict[str, str]:
    """Say what is wrong with files of a run, by name.

    Of older runs, whose hashes aren't known, it is said which are no files at all.

    `names` are files, and folders with all that is in them. One that is neither there nor listed is
    right.
    """
    hashes = _read_hashes(run_dir)
    if hashes is None:
        paths = [path for name in names for path in (run_dir / name, *(run_dir / name).glob("*"))]
        odd = [one for one in paths if os.path.lexists(one) and not (one.is_file() or one.is_dir())]
        return {one.relative_to(run_dir).as_posix(): "something that is no file" for one in odd}
    known = {*hashes, *_present(run_dir)}
    damaged = {}
    for asked in names:
        own = sorted(one for one in known if one == asked or one.startswith(f"{asked}/"))
        if asked not in own and own and not (run_dir / asked).exists():
            damaged[asked] = f"no such folder, though {CHECKSUMS} lists files in it"
            continue
        for name in own:
            try:
                if name not in hashes:
                    damaged[name] = f"a file that {CHECKSUMS} doesn't list"
                elif sha256_of(run_dir / name) not in hashes[name]:
                    damaged[name] = f"another content than {CHECKSUMS} lists"
            except OSError as error:
                damaged[name] = f"{error.strerror or error}, of a file that {CHECKSUMS} lists"
    return damaged


def check_run_files(run_dir: Path, names: Iterable[str] = RESULTS) -> str:
    """Compare files of a run with the hashes that the run has listed.

    Returns
    -------
    str
        What has to be said of runs whose hashes aren't known; empty for all others.

    Raises
    ------
    RunError
        If there is no such folder, or with the name of every file that is damaged.
    """
    if not run_dir.is_dir():
        accepted = "the folder of a finished run, which fmnet train prints last"
        found = "no such folder" if not os.path.lexists(run_dir) else "something that is no folder"
        raise RunError(Fault(str(run_dir), found, accepted, "correct run_dir"))
    if (run_dir / READY / CHECKSUMS).is_file():
        raise RunError(
            Fault(
                str(run_dir),
                "a run that was stopped while it took the place of an earlier one",
                "a run that has come to its end",
                "repeat the command of the training, which goes on with it",
            )
        )
    if damaged := list_damaged(run_dir, names):
        accepted = "the file as the run wrote it"
        raise RunError(
            Fault(str(run_dir / name), found, accepted, _remedy(name))
            for name, found in damaged.items()
        )
    return "" if (run_dir / CHECKSUMS).exists() else UNKNOWN


def _remedy(name: str) -> str:
    copy = "restore it from a copy"
    if name.split("/")[0] in {"model", "model_linear"}:
        return f"{copy}, or repeat the training command with resume=true, which fits it again"
    if name == "metrics.json":
        return f"{copy}, or delete it and repeat the training command, which computes it again"
    if name.startswith("lockbox."):
        return f"{copy}, or delete it; openings of the lock-box stay recorded in manifest.json"
    return f"{copy}, or repeat the training command with overwrite=true"


def _present(run_dir: Path) -> list[str]:
    """Name the files of a run that are listed, as far as they are there."""
    files = [run_dir / name for name in FILES if name != CHECKSUMS]
    for folder in FOLDERS:
        if folder not in UNLISTED:
            files += sorted((run_dir / folder).rglob("*"))
    names = [path.relative_to(run_dir).as_posix() for path in files if path.is_file()]
    return [name for name in names if CHECKPOINTS not in name and not name.endswith(DRAFT)]


def listed_files(run_dir: Path) -> list[str]:
    """Name the files that a run lists; empty where it lists none."""
    return list(_read_hashes(run_dir) or {})


def _read_hashes(run_dir: Path) -> Hashes | None:
    """Read the hashes listed; None if the run is of before they were kept."""
    path = run_dir / CHECKSUMS
    try:
        lines = read_bounded(path, MAX_BYTES).decode("utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable_hashes(path, str(error)) from error
    hashes: Hashes = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise _unreadable_hashes(path, f"the line '{line[:80]}'")
        hashes[name] = (*hashes.get(name, ()), digest)
    return hashes


def _unreadable_hashes(path: Path, found: str) -> RunError:
    accepted = "lines of a hash and a name, as sha256sum writes them"
    action = "restore it from a copy; without it the run's files are read unchecked"
    return RunError(Fault(str(path), found, accepted, action))


def _write_hashes(run_dir: Path, hashes: Hashes) -> None:
    rows = [(name, digest) for name in sorted(hashes) for digest in dict.fromkeys(hashes[name])]
    lines = "".join(f"{digest}  {name}\n" for name, digest in rows)
    write_atomically(run_dir / CHECKSUMS, lines)


def as_json(content: Any) -> str:
    """Write JSON as text, with a final newline."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_json(content: Any, path: Path) -> None:
    """Write JSON with a final newline."""
    write_atomically(path, as_json(content))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder.

    Raises
    ------
    RunError
        If there is none, or it is damaged.
    """
    accepted = "JSON as the run wrote it"
    try:
        content = json.loads(read_bounded(path, MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"a file that can't be read ({str(error) or type(error).__name__})"
        raise RunError(Fault(str(path), found, accepted, _remedy(path.name))) from error
    if not isinstance(content, dict):
        raise RunError(Fault(str(path), "no JSON object", accepted, _remedy(path.name)))
    return content


def write_sealed(content: dict[str, Any], path: Path) -> None:
    """Write a JSON object with its own hash in it."""
    write_atomically(path, as_json(seal(content)))


def read_sealed(path: Path, needs_seal: bool = True) -> dict[str, Any] | None:
    """Read what `write_sealed` wrote, see `unseal`; None if it isn't there or is damaged."""
    try:
        return unseal(read_bounded(path, MAX_BYTES), needs_seal)
    except OSError:
        return None
