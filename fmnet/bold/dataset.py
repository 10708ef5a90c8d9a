"""Check a whole data set, raw or preprocessed, before hours are spent on it."""

from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.bids_files import find_bold, find_people, is_derivative
from fmnet.bold.check_participants import check_people
from fmnet.bold.check_preprocessed import check_preprocessed, left_out
from fmnet.bold.check_raw import check_raw
from fmnet.bold.checked_runs import RunSummary
from fmnet.bold.findings import Finding
from fmnet.data.advice import Advice
from fmnet.errors import CohortError, Fault

#: What a validator's user can change.
VALIDATOR = Advice(
    root="correct the folder",
    runs="say which with --task NAME",
    task="choose among them with --task NAME",
    space="say which with --space NAME",
    raw="give the raw data set as ROOT and this folder with --derivatives",
)


@dataclass(frozen=True)
class DatasetReport:
    """What a data set holds and what is wrong with it.

    Parameters
    ----------
    raw, derivatives : Path or None
        What was checked.
    people : tuple of str
        Everyone with a folder, sorted, with ``sub-``.
    table : str
        What participants.tsv holds; empty without a usable one.
    raw_runs, preprocessed_runs : tuple of RunSummary
        All raw runs, and those preprocessed ones of which all files are there.
    findings : tuple of Finding
        Every fault with its kind.
    """

    raw: Path | None
    derivatives: Path | None
    people: tuple[str, ...]
    table: str
    raw_runs: tuple[RunSummary, ...]
    preprocessed_runs: tuple[RunSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def folders(self) -> tuple[Path, ...]:
        """What was checked; derivatives, which may lie in the raw data set, come first."""
        return tuple(path for path in (self.derivatives, self.raw) if path is not None)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Every fault."""
        return tuple(finding.fault for finding in self.findings)


def check_dataset(
    root: str | Path,
    derivatives: str | Path | None = None,
    task: str | None = None,
    space: str | None = None,
) -> DatasetReport:
    """Check a raw BIDS data set, fMRIPrep's output, or both, by names, sidecars and headers.

    Of images the header is read and of masks all; volumes are not, so that a run which is cut off
    is only met when it is used.

    Parameters
    ----------
    root : Path
        A raw data set, or fMRIPrep's output folder.
    derivatives : Path, optional
        fMRIPrep's output, if `root` is raw.
    task : str, optional
        Only runs of this task; by default of each.
    space : str, optional
        Of preprocessed images, see `fmnet.bold.derivatives.find_runs`.

    Raises
    ------
    CohortError
        If a folder is missing or holds no run.
    """
    raw, preprocessed = _sort_out(Path(root), None if derivatives is None else Path(derivatives))
    task = None if task is None else task.removeprefix("task-")
    findings: list[Finding] = []
    raw_runs: tuple[RunSummary, ...] = ()
    runs: tuple[RunSummary, ...] = ()
    if raw is not None:
        raw_runs, findings = check_raw(raw, task, VALIDATOR)
    if preprocessed is not None:
        runs, wrong = check_preprocessed(preprocessed, raw, task, space, VALIDATOR)
        findings += [*left_out(raw_runs, preprocessed), *wrong]
    people, table, of_people = _check_people(raw, preprocessed)
    found = tuple(dict.fromkeys([*findings, *of_people]))
    return DatasetReport(raw, preprocessed, people, table, raw_runs, runs, found)


def _sort_out(root: Path, derivatives: Path | None) -> tuple[Path | None, Path | None]:
    """Tell raw data from preprocessed; raise if there is no such folder."""
    missing = [path for path in (root, derivatives) if path is not None and not path.is_dir()]
    if missing:
        accepted = "a BIDS data set"
        raise CohortError(
            Fault(str(path), "no such folder", accepted, VALIDATOR.root) for path in missing
        )
    if derivatives is not None:
        return root, derivatives
    is_preprocessed = any(name.get("desc") == "preproc" for name in find_bold(root))
    return (None, root) if is_preprocessed or is_derivative(root) else (root, None)


def _check_people(
    raw: Path | None, preprocessed: Path | None
) -> tuple[tuple[str, ...], str, list[Finding]]:
    folders: tuple[Path, ...] = () if raw is None else (raw,)
    people = () if raw is None else find_people(raw)
    if preprocessed is not None:
        folders += (preprocessed, *preprocessed.resolve().parents[:2])
        people = tuple(sorted({*people, *find_people(preprocessed)}))
    table, findings = check_people(folders, people)
    return people, table, findings
