"""What a user chooses among the maps and columns that a reader found."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from fmnet.data.advice import Advice
from fmnet.data.tables import normal_text, say_some
from fmnet.errors import CohortError, Fault

#: The contrast of maps whose contrast nobody states.
UNSAID_CONTRAST = "map"


def choose_contrasts(
    asked: list[str] | None, names: list[str], source: Path, advice: Advice
) -> tuple[str, ...]:
    """Check the contrasts asked for; all of them, sorted as found, if none was.

    Raises
    ------
    CohortError
        If one is asked for twice or does not occur.
    """
    asked = None if asked is None else [normal_text(name) for name in asked]
    if twice := [name for name, count in Counter(asked or ()).items() if count > 1]:
        found = f"contrast {', '.join(twice)} asked for more than once"
        raise CohortError(Fault(str(source), found, "each contrast once", advice.contrasts))
    if absent := [name for name in asked or () if name not in names]:
        found = f"no map of contrast {', '.join(absent)}"
        raise CohortError(Fault(str(source), found, ", ".join(names), advice.contrasts))
    return tuple(asked or names)


def check_label_column(label: str, taken: tuple[str, ...]) -> None:
    """Refuse a label column that means something else.

    Raises
    ------
    CohortError
        If it is one of those `taken`.
    """
    if label in taken:
        accepted = f"a column other than {', '.join(taken)}"
        action = "name the column that tells the groups apart, or copy it under another name"
        raise CohortError(Fault("cohort.label", f"'{label}'", accepted, action))


def check_has_label(columns: Iterable[str], label: str, source: Path) -> None:
    """Raise `CohortError` if a table of people lacks the label column."""
    names = [str(name) for name in columns]
    if label not in names:
        found = f"columns {say_some(map(repr, names))}"
        accepted = f"a label column '{label}' (cohort.label)"
        action = f"set cohort.label to the column with the groups, or add or rename: '{label}'"
        raise CohortError(Fault(str(source), found, accepted, action))
