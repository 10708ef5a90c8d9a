"""Keep each prediction beside a table until all of them are in it, so that a killed run goes on."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from fmnet.data.image_files import image_files
from fmnet.errors import Fault, FmnetError, OutputError
from fmnet.inference.bold import NewBoldScan
from fmnet.inference.card_files import card_names
from fmnet.inference.predict import NewScan, Prediction
from fmnet.inference.results import (
    Results,
    check_out,
    full_record,
    hold,
    is_device,
    prediction_of,
)
from fmnet.inference.scoring import AnyScan, Scorer, name_of


def asked_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Say by what predictions are settled, besides the scan; `about` is of `about_signature`."""
    signature = about["signature"]["sha256"]
    return {"fmnet": about["fmnet"], "signature": signature, "request": about["request"]}


def identify(scan: NewScan | NewBoldScan) -> str:
    """Reduce a scan to what tells it from others and from itself with a file changed."""
    files: list[Path | None] = []
    if isinstance(scan, NewScan):
        for file in scan.files:
            with suppress(FmnetError, OSError):
                files += image_files(file).values()
    else:
        for run in scan.runs:
            files += [run.bold.path, run.bold.mask, run.confounds, run.events]
    seen = []
    for path in files:
        try:
            found = None if path is None else os.stat(path)
        except OSError:
            found = None
        seen.append(found and (found.st_size, found.st_mtime_ns))
    return sha256(repr((scan, seen)).encode("utf-8", "backslashreplace")).hexdigest()


class Unfinished:
    """Predictions so far, in a hidden file beside the table that they are for.

    Each is written as soon as there is one. A later run of the same signature, request and version
    takes them from there; errors are tried again. `out` of None, or a device, keeps nothing.

    Raises
    ------
    OutputError
        If there are results under that name already, finished ones or those of something else, and
        `may_overwrite` is false; if another process writes them just now.
    """

    def __init__(self, out: Path | None, asked: Mapping[str, Any], may_overwrite: bool) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._file: TextIO | None = None
        self._is_empty = True
        self._path = None
        if out is None or is_device(out):
            return
        target = Path(os.path.realpath(out))
        self._path = target.with_name(f".{target.name}.unfinished")
        if os.path.lexists(self._path) and (self._path.is_symlink() or not self._path.is_file()):
            raise _refuse(out, f"no regular file under the name {self._path.name}", "remove it")
        before = self._read(dict(asked))
        if before is False and not may_overwrite:
            found = "an unfinished table of another signature, request or version of fmnet"
            raise _refuse(out, found, "finish it by the command that began it, or --overwrite")
        if target.exists() and not before and not may_overwrite:
            raise _refuse(out, "results that are there already", "say --overwrite to replace them")
        self._begin(out, dict(asked))

    def known(self, scan: AnyScan, columns: tuple[str, ...]) -> Prediction | None:
        """Give the prediction that an earlier run made of a scan, if no file of it has changed."""
        if isinstance(scan, Prediction) or not self._known:
            return None
        record = self._known.get(identify(scan))
        with suppress(ValueError):  # somebody has altered it
            return None if record is None else prediction_of(record, columns)
        return None

    def add(
        self, scan: NewScan | NewBoldScan, prediction: Prediction, columns: tuple[str, ...]
    ) -> None:
        """Keep a prediction."""
        if self._file is None:
            return
        line = {"scan": identify(scan), "prediction": full_record(prediction, columns)}
        with suppress(OSError):  # a full disk, say, never costs the table, which says so itself
            self._file.write(f"{json.dumps(line)}\n")
            self._file.flush()
            self._is_empty = False

    def close(self, is_whole: bool) -> None:
        """End; what was kept goes once the table is whole."""
        file, self._file = self._file, None
        if file is None or self._path is None:
            return
        if is_whole or self._is_empty:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what could not be written before
            file.close()

    def _read(self, asked: dict[str, Any]) -> bool | None:
        """Read what an earlier run kept; False if it is of something else, None if nothing is."""
        assert self._path is not None
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return False
        read = []
        for line in lines:  # the last may have been cut
            with suppress(ValueError, RecursionError):
                read.append(json.loads(line))
        if not read:
            return None
        if read[0] != asked:
            return False
        for one in read[1:]:
            with suppress(LookupError, TypeError):  # what isn't as it was written isn't known
                if one["prediction"]["status"] != "error":
                    self._known[one["scan"]] = one["prediction"]
        self._is_empty = not self._known
        return True

    def _begin(self, out: Path, asked: dict[str, Any]) -> None:
        """Open the file, held by this process, with what was known before and whole lines only."""
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
            if not hold(self._file):
                raise _refuse(out, "results that another process writes", "wait for it")
            if self._known:
                self._file.write("\n")  # after what a killed process left of a line
            else:
                self._file.truncate(0)
                self._file.write(f"{json.dumps(asked)}\n")
            self._file.flush()
        except OSError as error:
            raise _refuse(out, f"{error.strerror or error}", "choose another --out") from error


def _refuse(out: Path, found: str, action: str) -> OutputError:
    accepted = "a new file, or an unfinished one of the same command"
    return OutputError(Fault(str(out), found, accepted, action))


class TableResults:
    """Results of named scans: a table or JSON document, and what is kept until it is whole.

    Parameters
    ----------
    out : Path or None
        The file; None to print a table.
    cards : Path or None
        Folder for a page on each scan.
    may_overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    OutputError
        If one of them can't be written.
    """

    def __init__(self, out: Path | None, cards: Path | None, may_overwrite: bool) -> None:
        if out is not None:
            check_out(out)
        if cards is not None and os.path.lexists(cards) and not os.path.isdir(cards):
            accepted, action = "a folder, or nothing yet", "choose another folder"
            raise OutputError(Fault(str(cards), "a file", accepted, action))
        self.cards: list[Path | None] = []
        self.known: dict[int, Prediction] = {}
        self.predictions: list[Prediction] = []
        self._out, self._folder, self._may_overwrite = out, cards, may_overwrite
        self._results, self._listed = Results(out), list[AnyScan]()
        self._unfinished: Unfinished | None = None

    @property
    def counts(self) -> Counter[str]:
        """Count predictions by status."""
        return self._results.counts

    @property
    def place(self) -> str:
        """Name where they are; empty where they are printed."""
        return str(self._out or "")

    @contextmanager
    def open(
        self, scorer: Scorer, about: Mapping[str, Any], listed: Sequence[AnyScan]
    ) -> Iterator[None]:
        """Take predictions of the listed scans within the block; see what there are from before.

        Raises
        ------
        OutputError
            If there are results that may not be replaced; if they can't be written.
        """
        columns = scorer.bundle.columns
        self._results.about, self._results.columns = dict(about), columns
        self._listed = list(listed)
        self.cards = [None] * len(listed)
        if self._folder is not None:
            names = card_names(list(map(name_of, listed)))
            self.cards = [self._folder / f"{name}.html" for name in names]
        self._unfinished = Unfinished(self._out, asked_of(about), self._may_overwrite)
        for number, scan in enumerate(listed):
            found, card = self._unfinished.known(scan, columns), self.cards[number]
            if found is not None and (card is None or card.exists()):
                self.known[number] = found
        is_whole = False
        try:
            with self._results:
                yield
            is_whole = True
            if self._folder is not None and scorer.cards is not None and self.predictions:
                names = [card.stem if card and card.exists() else "" for card in self.cards]
                replace(scorer.cards, folder=self._folder).write_group(self.predictions, names)
        finally:
            self._unfinished.close(is_whole)

    def keep(self, number: int, prediction: Prediction) -> None:
        """Keep the prediction of a scan, by its number, in case that this run is killed."""
        scan = self._listed[number]
        if self._unfinished is not None and not isinstance(scan, Prediction):
            self._unfinished.add(scan, prediction, self._results.columns)

    def add(self, prediction: Prediction) -> None:
        """Write a prediction; they come in order."""
        self._results.add(prediction)
        self.predictions.append(prediction)

    def finish(self, is_whole: bool) -> None:
        """Give the file its name, where the program ends at once."""
        self._results.finish(is_whole)
