"""JSON objects in files: others', read within bounds, and fmnet's own, which hold their own hash.

With it, one that is damaged isn't taken for another.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from fmnet.data.image_files import read_file
from fmnet.errors import Fault, VolumeError

SEAL = "sha256"
#: Bytes of a JSON file of others'; the longest sidecars (of dcmstack) have a few million.
MAX_JSON_BYTES = 1 << 24
ACCEPTED_JSON = "a JSON object in UTF-8"


def read_json(path: Path, what: str = "a JSON file") -> dict[str, Any]:
    """Read a JSON object that somebody else wrote; its numbers are all floats.

    Parameters
    ----------
    path : Path
        Of the file.
    what : str
        What it is, for messages.

    Raises
    ------
    VolumeError
        If it is missing, no regular file, too large, damaged, or no object.
    """
    raw = read_file(path, MAX_JSON_BYTES, ACCEPTED_JSON)
    try:
        content = json.loads(raw.decode("utf-8-sig"), parse_int=float)
        if isinstance(content, dict):
            return content
        reason = f"a JSON {type(content).__name__}"
    except RecursionError:
        reason = "objects or lists inside one another, too deep"
    except ValueError as error:
        reason = str(error)
    found, action = f"{what} that can't be read ({reason})", "fetch or write the file again"
    raise VolumeError(Fault(str(path), found, ACCEPTED_JSON, action))


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Add the hash of an object to it."""
    return {SEAL: _digest(content)} | content


def unseal(text: str | bytes, needs_seal: bool = True) -> dict[str, Any] | None:
    """Read an object without its hash; None if it is damaged.

    Parameters
    ----------
    text : str or bytes
        JSON.
    needs_seal : bool
        Whether an object without a hash, of before they were kept, counts as damaged.
    """
    try:
        content = json.loads(text)
        if SEAL not in content and not needs_seal:
            return dict(content)
        is_whole = content.pop(SEAL) == _digest(content)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return content if is_whole else None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
