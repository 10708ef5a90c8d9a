"""Which scans a signature learned from, so that one that comes back is marked.

Hashes are kept and no names, and each is salted: whoever holds a bundle and a scan can ask whether
the one knows the other, as predict does, but the same person in two bundles has two hashes, and
lists of hashes that somebody made beforehand are of no use.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnet.inference.bundle_files import Kind, list_of, read_fields

HASH = Kind(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
)
FIELDS = {"salt": HASH, "scans": list_of(HASH, may_be_empty=True)}


@dataclass(frozen=True)
class TrainingScans:
    """Salted hashes of the contents of scans: of their files, and of their values on the grid."""

    salt: str
    hashes: frozenset[str]

    def hold(self, digests: Iterable[str]) -> bool:
        """Tell whether one of some contents, by their SHA-256, is among them."""
        return any(_salted(self.salt, digest) in self.hashes for digest in digests)

    def to_json(self) -> dict[str, Any]:
        """Give plain values, as `read_training_scans` reads them; their order says nothing."""
        return {"salt": self.salt, "scans": sorted(self.hashes)}


def salt_hashes(digests: Iterable[str]) -> TrainingScans:
    """Keep contents by their SHA-256; the salt is that of the whole set, and the same each time."""
    known = sorted({digest for digest in digests if digest})
    salt = hashlib.sha256("\n".join(["fmnet training scans", *known]).encode()).hexdigest()
    return TrainingScans(salt, frozenset(_salted(salt, digest) for digest in known))


def read_training_scans(path: Path) -> TrainingScans:
    """Read what was written as JSON.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    fields = read_fields(path, FIELDS)
    return TrainingScans(fields["salt"], frozenset(fields["scans"]))


def _salted(salt: str, digest: str) -> str:
    return hashlib.sha256(f"{salt}:{digest}".encode()).hexdigest()
