"""`Target`: readers, with inputs to start from and ways to alter them."""

import json
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fmnet.errors import FmnetError

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**30, -(10**30), 1e-320, 1e308, float("nan"), float("inf"),
    "", "a", "\ud800", "\x1b]0;a\x07", "a" * 2100, [], [[]], [None], {}, {"a": {}}, [1e308] * 3,
)  # fmt: skip
#: Places of plain values that are looked at.
MAX_PLACES = 5000


@dataclass(frozen=True)
class Reader:
    """One reader and what it is given to start with.

    Parameters
    ----------
    read : callable
        ``read(folder)`` reads the file `name` in a folder of its own, and uses what it says.
    name : str
        Of the file that is altered.
    starts : sequence of bytes
        Contents that are right, or nearly so.
    prepare : callable, optional
        ``prepare(folder)`` puts beside it once what is not altered.
    """

    read: Callable[[Path], object]
    name: str
    starts: Sequence[bytes]
    prepare: Callable[[Path], object] | None = None


#: Changes a content as the format of a reader's file allows.
Alter = Callable[[bytes, Reader, random.Random], bytes]


@dataclass(frozen=True, eq=False)
class Target:
    """Readers that are fuzzed together.

    The first byte of an input chooses a reader, the others are what that reads.

    Parameters
    ----------
    readers : sequence of Reader
        Of one kind of file.
    alter : callable
        How contents are changed.
    folder : Path
        For the files that are read; not there yet.
    """

    readers: Sequence[Reader]
    alter: Alter
    folder: Path

    @cached_property
    def folders(self) -> list[Path]:
        """One for each reader."""
        made = []
        for number, reader in enumerate(self.readers):
            folder = self.folder / f"{number}"
            (folder / reader.name).parent.mkdir(parents=True)
            if reader.prepare is not None:
                reader.prepare(folder)
            made.append(folder)
        return made

    def seeds(self) -> list[bytes]:
        """List the inputs to start from."""
        return [
            bytes([number]) + content
            for number, reader in enumerate(self.readers)
            for content in reader.starts
        ]

    def feed(self, data: bytes) -> str:
        """Bring an input to its reader; returns the error that it is refused with, or nothing.

        Whatever is raised but an `FmnetError`, whose message can be written, is a crash.
        """
        if not data:
            return ""
        number = data[0] % len(self.readers)
        folder, reader = self.folders[number], self.readers[number]
        (folder / reader.name).write_bytes(data[1:])
        try:
            reader.read(folder)
        except FmnetError as error:
            said = str(error)
            said.encode()  # what UTF-8 can't hold ends the program that prints it
            return said
        return ""

    def mutate(self, data: bytes, seed: int) -> bytes:
        """Alter an input in a way that its format allows."""
        chance = random.Random(seed)
        if not data:
            return chance.choice(self.seeds())
        reader = self.readers[data[0] % len(self.readers)]
        return data[:1] + self.alter(data[1:] or reader.starts[0], reader, chance)


def alter_json(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Put an odd value in the place of one, take a field away, or put one in twice.

    In what is no JSON, bytes are set, taken away or put in twice.
    """
    *before, last = content.split(b"\n", 1)
    if before and reader.name.endswith(".unfinished"):  # lines, the first of which is what is asked
        return before[0] + b"\n" + alter_json(last, replace(reader, name=".json"), chance)
    if not reader.name.endswith(".json"):
        place, n = chance.randrange(len(content) or 1), chance.choice((1, 2, 4, 8, 32))
        piece = chance.choice((b"\0", b"\xff", b"\x7f", b"\n", content[place : place + n]))
        return content[:place] + piece + content[place + (n if chance.random() < 0.5 else 0) :]
    try:
        whole = json.loads(content)
        places = _places(whole)
        if not places:
            return json.dumps(chance.choice(ODD_VALUES)).encode()
        _alter_place(*chance.choice(places), chance.choice(places)[0], chance)
        return json.dumps(whole).encode()
    except (ValueError, RecursionError):  # no JSON any more, or an object inside itself
        return chance.choice(reader.starts)


def _alter_place(holder: Any, key: Any, other: Any, chance: random.Random) -> None:
    what = chance.randrange(6)
    if what <= 3:
        holder[key] = deepcopy(chance.choice(ODD_VALUES))
    elif what == 4:
        del holder[key]
    elif isinstance(holder, list):
        holder += [holder[key]] * chance.choice((1, 3, 300))
    else:
        holder[f"{key}{chance.choice(('', ' ', '_2'))}"] = other


def _places(value: Any) -> list[tuple[Any, Any]]:
    """List every place in plain values: who holds it, and under which name or number."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < MAX_PLACES:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            found += [(holder, name) for name in names]
            waiting += [holder[name] for name in names]
    return found
