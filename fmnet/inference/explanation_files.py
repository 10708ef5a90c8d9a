"""Files of an explanation: one person's map, table and card."""

from pathlib import Path

from fmnet.data.files import encoded, write_atomically
from fmnet.data.tables import write_table
from fmnet.errors import Fault, OutputError
from fmnet.inference.bundle import Bundle
from fmnet.inference.explain import Explanation
from fmnet.inference.scan_card import build_scan_card

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
