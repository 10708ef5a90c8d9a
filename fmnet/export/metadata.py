"""What a bundle says of itself, for programs and for people."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fmnet
from fmnet.export.agreement import Agreement
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bundle import FORMAT_VERSION, INTENDED_USE
from fmnet.inference.bundle_files import write_sums
from fmnet.inference.model_card import model_card
from fmnet.inference.preparation import Preparation
from fmnet.inference.study_results import Evidence, warnings_of
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.scale_space import ScaleSpace
from fmnet.runs.final_models import Choice

PACKAGES = ("torch", "monai", "onnx", "onnxruntime", "numpy")


def describe_input(
    preparation: Preparation,
    network: ScoreNetwork,
    record: dict[str, Any],
    contract: BoldContract | None,
    task: str,
) -> dict[str, Any]:
    """Describe what goes into a bundle.

    Parameters
    ----------
    preparation, network
        Of the final model.
    record : dict
        What is said of its training, see `fmnet.runs.run_folder.TrainingRecord`.
    contract : BoldContract or None
        How BOLD runs are made into its input; None for maps.
    task : str
        Of those runs; empty if there are several.
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
    evidence: Evidence,
    agreement: Agreement | None,
) -> None:
    """Write ``metadata.json``, the model card and the hashes."""
    record, calibration = choice.record, evidence.calibration or {}
    metadata = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"fmnet": fmnet.__version__} | {name: version(name) for name in PACKAGES},
        "intended_use": INTENDED_USE,
        "input": described,
        "output": {
            "score": f"raw; larger means more like {record['positive']}",
            "probability": f"of {record['positive']}, calibrated out of fold. "
            f"{calibration.get('sentence', '')}".rstrip(),
        },
        "evidence": asdict(evidence),
        "training": record,
        "warnings": warnings_of(record),
        "choice": {"asked": choice.asked, "why": choice.why, "n_models": choice.n_models},
        "agreement": None if agreement is None else agreement.__dict__,
    }
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card(metadata, contract), "utf-8")
    write_sums(folder)
