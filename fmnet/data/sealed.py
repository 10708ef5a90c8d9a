"""JSON objects that hold their own hash, so that one that is damaged isn't taken for another."""

import hashlib
import json
from typing import Any

SEAL = "sha256"


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
