"""Files of cards: a page on each scan of a call, one on all of them, one on an explanation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnet.data.files import encoded, write_atomically
from fmnet.data.tables import write_table
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, OutputError
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_shell import short_name
from fmnet.inference.explain import Explanation
from fmnet.inference.predict import USUAL, Prediction, Request
from fmnet.inference.scan_card import build_group_page, build_scan_card

#: Most characters of the name of a card's file.
MAX_NAME = 100
#: The page on all scans.
GROUP = "group.html"
#: Begins the name of each file of an explanation that was asked for although nothing is stable.
FORCED = "forced_"


@dataclass(frozen=True, eq=False)
class Cards:
    """Writes a page on each scan, whatever became of it, and one on all.

    Parameters
    ----------
    bundle : Bundle
        That scores them.
    folder : Path
        Where they go; made with the first.
    request : Request
        What was asked for.
    """

    bundle: Bundle
    folder: Path
    request: Request = USUAL

    def write(self, name: str, prediction: Prediction, values: FloatArray | None) -> Path:
        """Write a scan's card under one of `card_names`; replaces an earlier one.

        Raises
        ------
        OutputError
            If it can't be written.
        """
        page = build_scan_card(self.bundle, prediction, values, self.request)
        return self._write(self.folder / f"{name}.html", page)

    def write_group(self, predictions: Sequence[Prediction], names: Sequence[str] = ()) -> Path:
        """Write the page on all scans; `names` are those of their cards, in the same order.

        Raises
        ------
        OutputError
            If it can't be written.
        """
        cards = [f"{name}.html" if name else "" for name in names]
        page = build_group_page(self.bundle, predictions, self.request, cards)
        return self._write(self.folder / GROUP, page)

    def _write(self, path: Path, page: str) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, encoded(page), is_synced=False)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path


def open_cards(bundle: Bundle, folder: Path, request: Request = USUAL) -> Cards:
    """Make ready for cards, before anything is scored.

    Raises
    ------
    OutputError
        If there is something else than a folder.
    """
    if folder.exists() and not folder.is_dir():
        accepted, action = "a folder, or nothing yet", "choose another folder"
        raise OutputError(Fault(str(folder), "a file", accepted, action))
    return Cards(bundle, folder, request)


def card_names(scans: Sequence[str]) -> list[str]:
    """Name the cards of scans, without the ending: each once, whatever letters are capital.

    They depend on all of the scans' names and their order.
    """
    taken = {Path(GROUP).stem}
    found = []
    for scan in scans:
        bare = short_name(scan)
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", bare)[:MAX_NAME].strip(".-") or "scan"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        found.append(name)
    return found


def write_explanation(bundle: Bundle, explanation: Explanation, folder: Path) -> list[Path]:
    """Write the map of an explanation, its table ``regions.tsv`` and its page ``card.html``.

    Names of what was forced begin with ``forced_``, and each file says why.

    Raises
    ------
    OutputError
        If the folder can't be written.
    """
    start = FORCED if explanation.mark else ""
    table = explanation.regions.round(6)
    if explanation.mark:
        table.insert(0, "mark", explanation.mark)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for image in explanation.map.write(folder):
            sidecar = image.with_name(f"{image.name.removesuffix('.nii.gz')}.json")
            written += [
                path.replace(path.with_name(f"{start}{path.name}")) for path in (image, sidecar)
            ]
        with (folder / f"{start}regions.tsv").open("w", encoding="utf-8") as file:
            write_table(table, file, "\t", for_people=True)
        card = build_scan_card(
            bundle, explanation.prediction, explanation.values, explanation=explanation
        )
        write_atomically(folder / f"{start}card.html", encoded(card), is_synced=False)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return [*written, folder / f"{start}regions.tsv", folder / f"{start}card.html"]


def _unwritable(path: Path, error: OSError) -> OutputError:
    accepted, action = "a folder that can be written", "choose another folder"
    return OutputError(Fault(str(path), f"{error.strerror or error}", accepted, action))
