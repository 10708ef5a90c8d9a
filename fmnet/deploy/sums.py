"""Hashes of a bundle's files, which show what is missing or was altered."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fmnet.errors import BundleError, Fault

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Write the hash of every file, in the form that ``sha256sum -c`` reads."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{_sha256(path)}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def check_sums(folder: Path, needed: Iterable[str]) -> None:
    """Raise `BundleError` naming every file that is missing, altered or has no hash."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise refuse(folder, f"no readable {SUMS} ({error})") from error
    faults = [f"{name} without a hash" for name in sorted(set(needed) - set(expected))]
    for name, digest in sorted(expected.items()):
        path = folder / name
        if Path(name).name != name or not path.is_file():
            faults.append(f"{name} missing")
        elif _sha256(path) != digest:
            faults.append(f"{name} altered since export")
    if faults:
        raise refuse(folder, ", ".join(faults))


def refuse(folder: Path, found: str) -> BundleError:
    """Say what is wrong with the files of a bundle."""
    return BundleError(
        Fault(
            str(folder),
            found,
            "a bundle folder exactly as scripts/export.py wrote it",
            "copy it again from its source, or export again",
        )
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
