"""Turn a finished run into a bundle, refused unless every form of the network agrees."""

import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fmnet
from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, ExportError, Fault, FmnetError
from fmnet.export.bundle_folder import clear_remains, write_bundle_whole
from fmnet.export.evidence import gather_evidence
from fmnet.export.hub_header import hub_header
from fmnet.export.monai_bundle import write_configs
from fmnet.export.run_scans import read_run_bold_scans, read_run_scans, read_task
from fmnet.export.signature import GatheredSignature, gather_signature
from fmnet.inference.bold import NewBoldScan, read_scan
from fmnet.inference.bold_contract import CONTRACT, BoldContract, read_contract
from fmnet.inference.bundle import (
    CALIBRATION,
    FORMAT_VERSION,
    INTENDED_USE,
    LINK,
    Bundle,
    read_bundle,
)
from fmnet.inference.bundle_files import OPTIONAL, SIGNATURE, UNSEEN, write_hashes
from fmnet.inference.gates import read_gates
from fmnet.inference.model_card import is_of_people, model_card
from fmnet.inference.predict import NewScan, read_values
from fmnet.inference.preparation import Preparation, read_preparation
from fmnet.inference.signing import fingerprint, read_private_key, sign_hashes
from fmnet.inference.study_results import Evidence, TargetEvidence, count_red, warnings_of
from fmnet.inference.target_bundle import TARGET_USE
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import TRUSTED, read_network, write_network_files
from fmnet.networks.scale_space import ScaleSpace
from fmnet.runs.final_models import (
    Choice,
    ModelName,
    check_informative,
    choose_model,
    unfinished,
    unseen_of,
)
from fmnet.runs.record import read_predictions
from fmnet.runs.run_folder import as_json, check_run_files
from fmnet.training.calibration import ScoreScale

COPIED = ("preparation.json", "preparation.safetensors", "reference.json")
Floats = NDArray[np.float64]
#: Largest difference between features that is accepted, in units of the largest one.
SAME_FEATURES = 1e-3
#: Packages whose versions a bundle states.
PACKAGES = ("torch", "monai", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences between scores, over real scans.

    Parameters
    ----------
    n_scans : int
        Scans compared.
    onnx, torch_export : float
        Against the network as trained, in units of the raw score; of the largest score where that
        is beyond 1, since numbers of 32 bits have so many digits and no more.
    """

    n_scans: int
    onnx: float
    torch_export: float


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    `unknown` is what has to be said of a run whose hashes aren't known, `signed_by` the fingerprint
    of the key that signed the bundle; both are empty for all others. `logged` says where trackers
    keep it, and which of them don't.
    """

    choice: Choice
    agreement: Agreement
    evidence: Evidence | TargetEvidence
    unknown: str = ""
    signed_by: str = ""
    logged: tuple[str, ...] = ()

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
    sign_key: str | None = None,
    logger: Mapping[str, Callable[..., Any]] | None = None,
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
    sign_key : str, optional
        File of an Ed25519 private key, in PEM, which signs the hashes of all files.
    logger : dict, optional
        By name, trackers that keep the bundle in the run of its study; see
        `fmnet.training.loggers`.

    Raises
    ------
    ConfigError
        If there is no linear model, and it was asked for, or `sign_key` is no such key.
    ExportError
        If the model is not above chance, the forms disagree, the images are gone, or `out` exists
        or can't be written.
    RunError
        If `run_dir` holds no finished run, or one with files that are damaged.
    """
    target = Path(out)
    key = None if sign_key is None else read_private_key(Path(sign_key))
    with suppress(OSError):  # whatever can't be read there is named by who writes there
        clear_remains(target)
    # os.path and not pathlib, which raises where a folder above may not be entered
    if os.path.lexists(target) and not (overwrite and (target / "metadata.json").is_file()):
        found, accepted = "something there already", "a folder that does not exist, or a bundle"
        action = "choose another out, or set overwrite=true"
        raise ExportError(Fault(str(target), found, f"{accepted} with overwrite=true", action))
    unknown = check_run_files(Path(run_dir))
    choice = choose_model(Path(run_dir), model)
    _check_single_scans(choice)
    if not allow_uninformative:
        check_informative(choice)
    network, _ = read_network(choice.folder, (*TRUSTED, *(trusted_packages or ())))
    preparation = read_preparation(choice.folder)
    is_series = preparation.reads_series
    contract = read_contract(choice.folder)
    if contract is None:
        if is_series:
            lacking = FileNotFoundError(f"no {CONTRACT}, which says how runs are cleaned")
            raise unfinished(choice.folder, lacking)
        scans: Sequence[NewScan | NewBoldScan] = read_run_scans(Path(run_dir), n_check)
        task = ""
    else:
        scans, task = read_run_bold_scans(Path(run_dir), n_check), read_task(Path(run_dir))
    described = describe_input(preparation, network, choice.record, contract, task)
    kept = _read_kept(Path(run_dir), choice, contract)
    evidence = gather_evidence(Path(run_dir), choice)
    signature = gather_signature(Path(run_dir), choice.record["model"])
    kept |= {f"{SIGNATURE}/{name}": content for name, content in signature.files.items()}

    def write(folder: Path) -> Agreement:
        write_network_files(network, preparation.input_shape, folder)
        for name, content in kept.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        write_metadata(folder, choice, described, contract, evidence, signature, None)
        try:
            bundle = read_bundle(folder)
        except BundleError as error:
            accepted = "a network that makes a bundle which can be used"
            action = "choose another network, or report this with the versions in manifest.json"
            faults = [Fault(str(target), one.found, accepted, action) for one in error.faults]
            raise ExportError(faults) from error
        agreement = check_agreement(network, preparation, bundle, scans, tolerance)
        write_metadata(folder, choice, described, contract, evidence, signature, agreement)
        if key is not None:
            sign_hashes(folder, key)
        return agreement

    try:
        agreement = write_bundle_whole(write, target)
        signed_by = "" if key is None else fingerprint(key.public_key())
        logged = _log(logger or {}, Path(run_dir), target)
        return Exported(choice, agreement, evidence, unknown, signed_by, logged)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        found = "a full disk" if full else f"{error.strerror or error}"
        accepted = "a place that can be written, with room for the bundle"
        action = "free some room, or choose another out" if full else "choose another out"
        raise ExportError(Fault(str(target), found, accepted, action)) from error


def _log(logger: Mapping[str, Callable[..., Any]], run_dir: Path, bundle: Path) -> tuple[str, ...]:
    if not logger:
        return ()
    # here, since it imports Lightning, which takes seconds that exports can do without
    from fmnet.training.trackers import log_bundle

    return tuple(log_bundle(list(logger.values()), run_dir / "logs", bundle))


def _read_kept(run_dir: Path, choice: Choice, contract: BoldContract | None) -> dict[str, bytes]:
    """Read the files of a final model that go into a bundle as they are, by their names.

    Runs of before have no scores of unseen people there; they are made from the out-of-fold table.
    """
    is_of_groups = "target" not in choice.record
    names = [*COPIED, CALIBRATION if is_of_groups else LINK]
    names += [] if contract is None else [CONTRACT]
    names += [name for name in OPTIONAL if (choice.folder / name).is_file()]
    try:
        kept = {name: (choice.folder / name).read_bytes() for name in names}
    except OSError as error:
        raise unfinished(choice.folder, error) from error
    path = run_dir / "predictions.tsv"
    if is_of_groups and UNSEEN not in kept and path.exists():
        table = read_predictions(path)
        own = table[table["model"] == choice.record["model"]]
        known = choice.record.get("score_scale")
        scale = None if known is None else ScoreScale(known["middle"], known["sd"])
        kept[UNSEEN] = as_json(unseen_of(own, scale).to_json()).encode()
    return kept


def _check_single_scans(choice: Choice) -> None:
    """Raise `ExportError` if a model says nothing of one scan by itself."""
    if choice.record.get("target", {}).get("is_within"):
        raise ExportError(
            Fault(
                f"'{choice.folder}'",
                "a model that compares scans of one person with each other",
                "a model that scores a scan by itself",
                "study outcomes of single scans instead, as target=severity",
            )
        )


def describe_input(
    preparation: Preparation,
    network: ScoreNetwork,
    record: dict[str, Any],
    contract: BoldContract | None,
    task: str,
) -> dict[str, Any]:
    """Describe what goes into a bundle.

    `contract` says how BOLD runs are made into its input, None for maps; `task` is that of the
    runs, empty if there are several.
    """
    grid = preparation.grid
    described = {
        "kind": preparation.kind,
        "bold": None if contract is None else asdict(contract),
        "t_r": None if contract is None else contract.t_r,
        "task": task,
        "contrasts": preparation.contrasts,
        "stat": record["stat"],
        "space": record["space"],
        "orientation": "RAS+",
        "shape": grid.shape,
        "voxel_size_mm": grid.voxel_size_mm,
        "affine": grid.affine.tolist(),
        "smooths_itself": any(isinstance(part, ScaleSpace) for part in network.modules()),
    }
    return described | preparation.settings()


def write_metadata(
    folder: Path,
    choice: Choice,
    described: dict[str, Any],
    contract: BoldContract | None,
    evidence: Evidence | TargetEvidence,
    signature: GatheredSignature,
    agreement: Agreement | None,
) -> None:
    """Write ``metadata.json``, the model card, what MONAI reads, and the hashes."""
    record = without_commands(choice.record)
    is_of_groups = isinstance(evidence, Evidence)
    metadata = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"fmnet": fmnet.__version__} | {name: version(name) for name in PACKAGES},
        "intended_use": INTENDED_USE if is_of_groups else TARGET_USE,
        "input": described,
        "output": describe_output(record, evidence),
        "evidence": asdict(evidence),
        "training": record,
        "warnings": warnings_of(record),
        "choice": {"asked": choice.asked, "why": choice.why, "n_models": choice.n_models},
        "agreement": None if agreement is None else agreement.__dict__,
    } | ({} if signature.facts is None else {"signature": signature.facts})
    gates = read_gates(folder, read_preparation(folder).grid)
    metadata |= {} if gates is None else {"gates": gates.describe()}
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    card = hub_header(metadata) + model_card(metadata, contract)
    (folder / "MODEL_CARD.md").write_text(card, "utf-8")
    write_configs(folder, metadata)
    write_hashes(folder)


def describe_output(record: dict[str, Any], evidence: Evidence | TargetEvidence) -> dict[str, Any]:
    """Describe what a bundle gives: a probability, or by name and unit the outputs of a target."""
    if isinstance(evidence, Evidence):
        sentence = (evidence.calibration or {}).get("sentence", "")
        return {
            "score": f"raw; larger means more like {record['positive']}",
            "probability": f"of {record['positive']}, calibrated out of fold. {sentence}".rstrip(),
        }
    scores = {name: "raw, without a unit" for name in record["target"]["scores"]}
    return scores | {one["name"]: one["unit"] for one in record["target"]["outputs"]}


def without_commands(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out how a user's own CNN was pretrained, word by word: that names files and people.

    Of the weights that fmnet brings along everybody may know it.
    """
    pretrained = record.get("pretrained") or {}
    if not pretrained or pretrained.get("is_shipped"):
        return record
    kept: dict[str, Any] = {"figures": pretrained["record"].get("figures", {})}
    if is_of_people(pretrained):
        kept["people_sha256"] = "left out"
    return record | {"pretrained": pretrained | {"record": kept}}


def check_agreement(
    network: ScoreNetwork,
    preparation: Preparation,
    bundle: Bundle,
    scans: Sequence[NewScan | NewBoldScan],
    tolerance: float,
) -> Agreement:
    """Score scans, read afresh from disk, in every form through the whole preparation.

    Raises
    ------
    ExportError
        If two forms differ by more than `tolerance`, or a scan can't be read.
    """
    program = torch.export.load(bundle.folder / "model.pt2").module()
    onnx, exported, size, of_features = [], [], 1.0, []
    for scan in scans:
        try:
            if isinstance(scan, NewScan):
                values = read_values(bundle, scan)
            else:
                values = read_scan(bundle, scan).values
        except FmnetError as error:
            raise ExportError(error.faults) from error
        inputs = preparation.inputs(values)
        eager = _score(network, inputs)
        size = max(size, float(np.abs(eager).max()))
        exported.append(np.abs(eager - _score(program, inputs)).max())
        scores, features = bundle.scores_and_features_of_scan(values)
        onnx.append(np.abs(eager - scores).max())
        expected = _score(network.features, inputs)
        of_features.append(np.abs(expected - features).max() / max(1, np.abs(expected).max()))
    # unlike max, NumPy's gives NaN where one is
    agreement = Agreement(len(scans), float(np.max(onnx)) / size, float(np.max(exported)) / size)
    if not max(agreement.onnx, agreement.torch_export) <= tolerance:
        raise ExportError(
            Fault(
                str(bundle.folder.parent),
                f"scores that differ by {agreement.onnx:.2g} (ONNX Runtime) and "
                f"{agreement.torch_export:.2g} (torch.export) from the network as trained",
                f"at most {tolerance:g} over {len(scans)} scans",
                "choose another network, or report this with the versions in manifest.json",
            )
        )
    if not (apart := float(np.max(of_features))) <= max(tolerance, SAME_FEATURES):
        found = f"features that differ by {apart:.2g} of the largest from the network as trained"
        action = "choose another network, or report this with the versions in manifest.json"
        accepted = f"at most {SAME_FEATURES:g} over {len(scans)} scans"
        raise ExportError(Fault(str(bundle.folder.parent), found, accepted, action))
    return agreement


def _score(form: Callable[[torch.Tensor], torch.Tensor], inputs: FloatArray) -> Floats:
    """Score the inputs of one scan one by one, as a bundle does: to (K,), or features to (F,)."""
    with torch.no_grad():
        scores = [form(torch.from_numpy(one[None])).numpy().reshape(-1) for one in inputs]
    return np.asarray(np.mean(np.asarray(scores, dtype=np.float64), axis=0))
