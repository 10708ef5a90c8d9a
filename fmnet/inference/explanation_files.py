"""Files of explanations: one person's map, table and card, or cards alone of many people."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from fmnet.data.files import encoded, write_atomically
from fmnet.data.tables import write_table
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, OutputError
from fmnet.inference.bundle import Bundle
from fmnet.inference.explain import Explainer, Explanation, read_explainer
from fmnet.inference.explanation_card import build_card
from fmnet.inference.predict import Prediction

#: Most characters of the name of a card's file.
MAX_NAME = 100
#: Begins the name of each file of an explanation that was asked for although nothing is stable.
FORCED = "forced_"


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
        card = build_card(bundle, explanation)
        write_atomically(folder / f"{start}card.html", encoded(card), is_synced=False)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return [*written, folder / f"{start}regions.tsv", folder / f"{start}card.html"]


@dataclass(eq=False)
class Cards:
    """Cards of many people, one written after the other.

    Parameters
    ----------
    explainer : Explainer
        Of the bundle that scores them.
    folder : Path
        Where they go; made with the first.
    """

    explainer: Explainer
    folder: Path
    _names: set[str] = field(default_factory=set, init=False)

    def add(self, prediction: Prediction, values: FloatArray) -> Path:
        """Write the card of a scan that has a score; two scans of one name get a card each."""
        explanation = self.explainer.explain(prediction, values)
        card = build_card(self.explainer.bundle, explanation)
        path = self.folder / f"{self._name(prediction.scan)}.html"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, encoded(card), is_synced=False)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    def _name(self, scan: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(scan).name)[:MAX_NAME].strip(".-") or "scan"
        name, number = plain, 1
        while name.lower() in self._names:
            number += 1
            name = f"{plain}-{number}"
        self._names.add(name.lower())
        return name


def open_cards(bundle: Bundle, folder: Path) -> Cards:
    """Make ready for cards, before anything is scored.

    Raises
    ------
    ExplanationError, BundleError
        If scores of this bundle can't be explained.
    OutputError
        If there is something else than a folder.
    """
    if folder.exists() and not folder.is_dir():
        accepted, action = "a folder, or nothing yet", "choose another folder"
        raise OutputError(Fault(str(folder), "a file", accepted, action))
    return Cards(read_explainer(bundle), folder)


def _unwritable(path: Path, error: OSError) -> OutputError:
    accepted, action = "a folder that can be written", "choose another folder"
    return OutputError(Fault(str(path), f"{error.strerror or error}", accepted, action))
