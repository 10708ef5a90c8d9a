"""Turn a finished run into a bundle, refused unless every form of the network agrees."""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fmnet.errors import BundleError, ExportError, Fault
from fmnet.export.agreement import Agreement, check_agreement
from fmnet.export.evidence import gather_evidence
from fmnet.export.metadata import describe_input, write_metadata
from fmnet.export.place import clear_remains, write_bundle_whole
from fmnet.export.run_scans import read_run_bold_scans, read_run_scans, read_task
from fmnet.inference.bold import NewBoldScan
from fmnet.inference.bold_contract import CONTRACT, BoldContract, read_contract
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import NewScan
from fmnet.inference.preparation import (
    Preparation,
    read_preparation,
)
from fmnet.inference.study_results import Evidence, count_red
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import TRUSTED, read_network, write_network_files, write_series_files
from fmnet.runs.final_models import Choice, ModelName, check_informative, choose_model, unfinished
from fmnet.runs.run_folder import check_run_files

COPIED = ("preparation.json", "preparation.safetensors", "calibration.json", "reference.json")


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Parameters
    ----------
    choice : Choice
        Which model it is.
    agreement : Agreement
        How far its forms agree.
    evidence : Evidence
        What the run found out about it.
    unknown : str
        What has to be said of a run whose hashes aren't known; empty for all others.
    """

    choice: Choice
    agreement: Agreement
    evidence: Evidence
    unknown: str = ""

    @property
    def known(self) -> str:
        """State the red findings that go with the bundle, a line each, or that there are none."""
        counted = f"{count_red(self.evidence)} in its model card"
        return "\n- ".join([f"{counted}:", *self.evidence.red]) if self.evidence.red else counted


def export_run(
    run_dir: str,
    out: str,
    model: ModelName = "auto",
    tolerance: float = 1e-4,
    n_check: int = 32,
    overwrite: bool = False,
    trusted_packages: list[str] | None = None,
    allow_uninformative: bool = False,
) -> Exported:
    """Write a bundle from a run folder.

    Parameters
    ----------
    run_dir, out : str
        The run, and the bundle's folder.
    model : {"auto", "network", "linear"}
        Which of its final models; ``auto`` takes the one with the larger out-of-fold AUC, of equals
        the linear one. ``cnn`` is the earlier name of ``network``.
    tolerance : float
        Largest difference between scores that is accepted.
    n_check : int
        How many of the run's scans are read again and scored in every form.
    overwrite : bool
        Whether an existing bundle at `out` may be replaced.
    trusted_packages : list of str, optional
        Packages besides fmnet whose network builders may be run.
    allow_uninformative : bool
        Whether a model is exported whose out-of-fold AUC has an interval that reaches 0.5 or less;
        its card, its metadata and each of its predictions say so.

    Raises
    ------
    ConfigError
        If there is no linear model, and it was asked for.
    ExportError
        If the model is not above chance, the forms disagree, the images are gone, or `out` exists
        or can't be written.
    RunError
        If `run_dir` holds no finished run, or one with files that are damaged.
    """
    target = Path(out)
    with suppress(OSError):  # whatever can't be read there is named by who writes there
        clear_remains(target)
    _check_target(target, overwrite)
    unknown = check_run_files(Path(run_dir))
    choice = choose_model(Path(run_dir), model)
    if not allow_uninformative:
        check_informative(choice)
    network, _ = read_network(choice.folder, (*TRUSTED, *(trusted_packages or ())))
    preparation = read_preparation(choice.folder)
    contract = _read_contract(choice.folder, preparation)
    scans, task = _read_scans(Path(run_dir), n_check, contract)
    described = describe_input(preparation, network, choice.record, contract, task)
    kept = _read_kept(choice.folder, contract)
    evidence = gather_evidence(Path(run_dir), choice)

    def write(folder: Path) -> Agreement:
        write_programs(network, preparation, folder)
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        write_metadata(folder, choice, described, contract, evidence, None)
        try:
            bundle = read_bundle(folder)
        except BundleError as error:
            raise ExportError([_unfit(target, fault) for fault in error.faults]) from error
        agreement = check_agreement(network, preparation, bundle, scans, tolerance)
        write_metadata(folder, choice, described, contract, evidence, agreement)
        return agreement

    try:
        return Exported(choice, write_bundle_whole(write, target), evidence, unknown)
    except OSError as error:
        raise _unwritable(target, error) from error


def write_programs(network: ScoreNetwork, preparation: Preparation, folder: Path) -> None:
    """Write the network as programs, for maps or for series of any length."""
    if preparation.reads_series:
        write_series_files(network, preparation.input_shape, folder)
    else:
        write_network_files(network, preparation.input_shape, folder)


def _read_contract(folder: Path, preparation: Preparation) -> BoldContract | None:
    contract = read_contract(folder)
    if contract is None and preparation.reads_series:
        raise unfinished(
            folder, FileNotFoundError(f"no {CONTRACT}, which says how runs are cleaned")
        )
    return contract


def _read_scans(
    run_dir: Path, n_check: int, contract: BoldContract | None
) -> tuple[Sequence[NewScan | NewBoldScan], str]:
    """Pick scans of the run, and find the task of those that are BOLD."""
    if contract is None:
        return read_run_scans(run_dir, n_check), ""
    return read_run_bold_scans(run_dir, n_check), read_task(run_dir)


def _check_target(target: Path, overwrite: bool) -> None:
    # os.path and not pathlib, which raises where a folder above may not be entered
    if os.path.lexists(target) and not (overwrite and (target / "metadata.json").is_file()):
        raise ExportError(
            Fault(
                str(target),
                "something there already",
                "a folder that does not exist, or a bundle with overwrite=true",
                "choose another out, or set overwrite=true",
            )
        )


def _read_kept(folder: Path, contract: BoldContract | None) -> dict[str, bytes]:
    """Read the small files of a run that go into the bundle as they are."""
    names = COPIED if contract is None else (*COPIED, CONTRACT)
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise unfinished(folder, error) from error


def _unfit(target: Path, fault: Fault) -> Fault:
    """Say that what was written can't be read as a bundle."""
    accepted = "a network that makes a bundle which can be used"
    action = "choose another network, or report this with the versions in manifest.json"
    return Fault(str(target), fault.found, accepted, action)


def _unwritable(target: Path, error: OSError) -> ExportError:
    accepted = "a place that can be written, with room for the bundle"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    found = "a full disk" if full else f"{error.strerror or error}"
    action = "free some room, or choose another out" if full else "choose another out"
    return ExportError(Fault(str(target), found, accepted, action))
