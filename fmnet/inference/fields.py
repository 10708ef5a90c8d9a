"""JSON files checked field by field before anything relies on them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnet.data.volume import MNI_SPACES
from fmnet.errors import BundleError, Fault
from fmnet.inference.checksums import MAX_BYTES, read_bounded

#: Longest text, and largest whole number: nothing that is counted comes to more.
MAX_LENGTH, MAX_COUNT = 2000, 10**9


@dataclass(frozen=True)
class Kind:
    """What a field may hold, in words and as a test, and whether files may be without it."""

    words: str
    accepts: Callable[[Any], bool]
    is_optional: bool = False


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # JSON's whole numbers may be of any length
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def list_of(kind: Kind, may_be_empty: bool = False) -> Kind:
    """Make the kind of a list that holds one kind."""
    return Kind(
        f"a list, each {kind.words}",
        lambda value: (
            isinstance(value, list)
            and (bool(value) or may_be_empty)
            and all(map(kind.accepts, value))
        ),
    )


def one_of(values: Sequence[str]) -> Kind:
    """Make the kind of a text that is one of a few."""
    return Kind(
        f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values
    )


def optional(kind: Kind) -> Kind:
    """Make the kind of a field that may be null, or missing where its place is there."""
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.accepts(value), True)


TEXT = Kind(
    f"a text of up to {MAX_LENGTH} characters",
    lambda value: isinstance(value, str) and len(value) <= MAX_LENGTH,
)
NUMBER = Kind("a finite number", is_number)
NON_NEGATIVE = Kind("a number from 0", lambda value: is_number(value) and value >= 0)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
SHARE = Kind("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
COUNT_OR_NONE = Kind(
    "a whole number from 0", lambda value: type(value) is int and 0 <= value <= MAX_COUNT
)
COUNT = Kind("a whole number from 1", lambda value: type(value) is int and 0 < value <= MAX_COUNT)
SPACE = Kind("an MNI152 space", lambda value: isinstance(value, str) and value in MNI_SPACES)


def read_fields(path: Path, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Read a JSON file and check the fields that matter; a dot leads into a field.

    Raises
    ------
    BundleError
        If the file can't be read, naming every field that is missing or wrong.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8")
        content = json.loads(text, object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _refuse(path, f"a part that can't be read ({error})") from error
    if faults := [text for name, kind in kinds.items() if (text := _fault(content, name, kind))]:
        raise _refuse(path, ", ".join(faults))
    read: dict[str, Any] = content
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says something twice, of which readers take one or the other."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two values of '{twice:.99}'")
    return content


def _fault(content: Any, name: str, kind: Kind) -> str:
    value = content
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            is_fine = kind.is_optional and isinstance(value, dict)
            return "" if is_fine else f"no '{name}'"
        value = value[key]
    return "" if kind.accepts(value) else f"'{name}' that is not {kind.words}"


def _refuse(path: Path, found: str) -> BundleError:
    accepted = "the file exactly as fmnet wrote it"
    action = "copy the folder again from its source, or export again"
    return BundleError(Fault(str(path), found, accepted, action))
