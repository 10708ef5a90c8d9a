"""Every error that a user can meet, and the shape it takes.

A message says four things: where (subject or file), what was found, what is accepted, what to do.
Names and contents of files get into messages, and messages onto terminals: see `printable`.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

#: Categories of characters that steer a terminal, turn text around, hide in it or can't be encoded.
UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    r"""Spell out the characters of a text that steer a terminal or can't be written.

    Control and format characters, line ends among them, become ``\x1b``, ``\n`` or ``\u202e``;
    bytes of a file name that are no UTF-8, which Python reads as lone surrogates, become ``\xfc``.

    Parameters
    ----------
    text : str
        Anything that was read: a name, a cell, metadata.
    """
    if text.isprintable():
        return text
    return "".join(
        _spelt(sign) if unicodedata.category(sign) in UNPRINTABLE else sign for sign in text
    )


def _spelt(sign: str) -> str:
    is_byte = 0xDC80 <= ord(sign) <= 0xDCFF
    return f"\\x{ord(sign) - 0xDC00:02x}" if is_byte else sign.encode("unicode_escape").decode()


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input.

    Parameters
    ----------
    where : str
        Subject, file or configuration key.
    found, accepted, action : str
        What was met, what would have been right, and what the user can do.
    participant_id : str, optional
        The subject whose exclusion cures the fault; empty if leaving one subject out cures nothing.
    """

    where: str
    found: str
    accepted: str
    action: str
    participant_id: str = ""

    def __str__(self) -> str:
        head = printable(
            f"{self.where}: found {self.found}; accepted: {self.accepted}; to do: {self.action}"
        )
        return head if head.endswith("?") else f"{head}."


class FmnetError(Exception):
    """Base of all user-facing errors; carries one or more faults.

    Parameters
    ----------
    faults : Fault or iterable of Fault
        Everything that is wrong, reported together.
    """

    title = "fmnet can't go on"

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__(self._message())

    def __reduce__(self) -> tuple[type["FmnetError"], tuple[tuple[Fault, ...]]]:
        """Reach another process with all faults."""
        return type(self), (self.faults,)

    def _message(self) -> str:
        if len(self.faults) == 1:
            return f"{self.title}: {self.faults[0]}"
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        return f"{self.title}, {len(self.faults)} faults:\n{lines}"


class ConfigError(FmnetError):
    """The configuration holds a misspelt key, a wrong type or an unknown option."""

    title = "the configuration is not valid"


class VolumeError(FmnetError):
    """One image can't be read or used."""

    title = "an image can't be used"


class CohortError(FmnetError):
    """The cohort as a whole can't be used."""

    title = "the cohort can't be used"


class InputError(FmnetError, ValueError):
    """What was given in Python can't be used; a `ValueError`, as users of scikit-learn expect."""

    title = "the input can't be used"


class StoreError(FmnetError):
    """The scan store could not be written or read."""

    title = "the scan store failed"


class FoldsError(FmnetError):
    """The folds asked for can't be made from this cohort."""

    title = "the folds can't be made"


class LeakError(FmnetError):
    """Something that is learned looks at test subjects."""

    title = "test subjects reach what is learned"


class TrainingError(FmnetError):
    """A network could not be trained as asked."""

    title = "the training failed"


class RunError(FmnetError):
    """The run folder is not what this step needs."""

    title = "the run folder can't be used"


class JobError(FmnetError):
    """Jobs could not be given to a cluster, or failed there."""

    title = "not all jobs came to their end"


class OutputError(FmnetError):
    """The place for the results is not one that can be written."""

    title = "the results can't be written"


class ExportError(FmnetError):
    """The trained network was not exported."""

    title = "the export was refused"


class BundleError(FmnetError):
    """The bundle is damaged, altered or of another format."""

    title = "the bundle can't be used"


class ExplanationError(FmnetError):
    """What raised and what lowered a score can't be said."""

    title = "the score can't be explained"


class BenchmarkError(FmnetError):
    """What was to be timed did not come to its end."""

    title = "the benchmark can't go on"
