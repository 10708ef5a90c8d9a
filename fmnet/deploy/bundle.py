"""`Bundle`: an exported signature on disk, loaded without torch and checked before use."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fmnet.bold.maps import parse_maps
from fmnet.data.volume import FloatArray
from fmnet.deploy.bold_contract import CONTRACT, BoldContract, read_contract
from fmnet.deploy.calibration import Calibration, read_calibration
from fmnet.deploy.fields import COUNT, SPACE, TEXT, list_of, optional, read_fields
from fmnet.deploy.preparation import Preparation
from fmnet.deploy.quality import Reference, read_reference
from fmnet.deploy.series_preparation import (
    INPUT_KIND,
    MAPS,
    SERIES,
    AnyPreparation,
    SeriesPreparation,
    read_any_preparation,
)
from fmnet.deploy.sums import check_sums, refuse
from fmnet.errors import BundleError, Fault, FmnetError

FORMAT_VERSION = 1
#: What every bundle holds besides the hashes; others may lie beside them, bold.json among them.
FILES = (
    "calibration.json",
    "metadata.json",
    "model.onnx",
    "preparation.json",
    "preparation.safetensors",
    "reference.json",
)
INTENDED_USE = (
    "Research use only. The score describes how much a brain scan, given as maps or as BOLD runs, "
    "resembles those of one group of research participants rather than another. It is not a "
    "diagnosis and must not be used for any decision about a person's care."
)

#: What is relied on of the metadata.
METADATA = {
    "intended_use": TEXT,
    "input.kind": INPUT_KIND,
    "input.task": optional(TEXT),
    "input.contrasts": list_of(TEXT),
    "input.stat": TEXT,
    "input.space": SPACE,
    "training.positive": TEXT,
    "training.negative": TEXT,
    "training.origin": TEXT,
    "training.n_scans": COUNT,
}


@dataclass(frozen=True, eq=False)
class Bundle:
    """A signature ready for use.

    Parameters
    ----------
    folder : Path
        Where it was read from.
    metadata : dict
        Versions, input contract, intended use, how it was trained.
    preparation : Preparation or SeriesPreparation
        From maps, or from a cleaned series, to the network's input.
    calibration : Calibration
        From score to probability.
    reference : Reference
        What the training scans looked like.
    session : onnxruntime.InferenceSession
        The network.
    contract : BoldContract or None
        How BOLD runs become the maps or the series; None where the maps themselves go in.
    """

    folder: Path
    metadata: dict[str, Any]
    preparation: AnyPreparation
    calibration: Calibration
    reference: Reference
    session: ort.InferenceSession
    contract: BoldContract | None = None

    def score(self, images: FloatArray) -> NDArray[np.float32]:
        """Run the network on N inputs, (N, C, X, Y, Z) or (N, T, X, Y, Z), to raw scores (N,)."""
        (scores,) = self.session.run(["score"], {_input_name(self.preparation): images})
        return np.asarray(scores, dtype=np.float32)

    def score_scan(self, values: FloatArray) -> float:
        """Score one scan: its maps on the grid, (C, V), or its cleaned series, (T, V)."""
        if isinstance(self.preparation, Preparation):
            return float(self.score(self.preparation.prepare(values[None]))[0])
        return self.score_series(values)

    def score_series(self, values: FloatArray) -> float:
        """Score a cleaned series, (T, V): the mean over its windows, one in memory at a time.

        Raises
        ------
        BundleError
            If the network reads maps.
        """
        if not isinstance(self.preparation, SeriesPreparation):
            raise refuse(self.folder, "a network that reads maps where a series is given")
        windows = self.preparation.windows(values)
        return float(np.mean([self.score(window[None])[0] for window in windows]))

    @property
    def space(self) -> str:
        """The space that the training scans were in."""
        return str(self.metadata["input"]["space"])

    @property
    def task(self) -> str:
        """The task of the training runs; empty for maps, and where there were several."""
        return self.metadata["input"].get("task") or ""

    @property
    def is_synthetic(self) -> bool:
        """Tell whether the signature was trained on made-up data."""
        return bool(self.metadata["training"]["origin"] == "synthetic")


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle after checking its format and the hash of every file.

    Raises
    ------
    BundleError
        If it is no bundle, of another format version, incomplete or altered.
    """
    metadata = read_metadata(folder)
    check_sums(folder, FILES)
    bundle = Bundle(
        folder,
        metadata,
        read_any_preparation(folder),
        read_calibration(folder / "calibration.json"),
        read_reference(folder / "reference.json"),
        _read_model(folder),
        read_contract(folder),
    )
    _check_parts(bundle)
    return bundle


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read ``metadata.json`` and check the format version and every field that is relied on.

    Raises
    ------
    BundleError
        If there is none, it is of another version, or fields are missing or wrong.
    """
    try:
        metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text("utf-8"))
        version = metadata["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse(folder, f"no readable metadata.json ({error})") from error
    _check_version(folder, metadata, version)
    return read_fields(folder / "metadata.json", METADATA)


def _check_version(folder: Path, metadata: dict[str, Any], version: Any) -> None:
    versions = metadata.get("versions")
    wrote = versions.get("fmnet", "unknown") if isinstance(versions, dict) else "unknown"
    if version != FORMAT_VERSION:
        raise BundleError(
            Fault(
                str(folder),
                f"bundle format {version}",
                f"format {FORMAT_VERSION}",
                f"use the fmnet version that wrote the bundle ({wrote}), or export again",
            )
        )


def write_plain(value: Calibration | Reference, path: Path) -> None:
    """Write a small dataclass as JSON."""
    path.write_text(json.dumps(asdict(value), indent=2, allow_nan=False) + "\n", "utf-8")


def _read_model(folder: Path) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises types of its own for a model it can't load
        raise refuse(folder, f"a part that can't be read ({error})") from error


def _check_parts(bundle: Bundle) -> None:
    """Raise `BundleError` unless all parts speak of the same contrasts, kind and shape."""
    contrasts, preparation = bundle.metadata["input"]["contrasts"], bundle.preparation
    faults = [
        f"{name} for contrasts {', '.join(found)}, not {', '.join(contrasts)}"
        for name, found in (
            ("preparation.json", preparation.contrasts),
            ("reference.json", bundle.reference.contrasts),
        )
        if list(found) != contrasts
    ]
    faults += _kind_faults(bundle)
    taken = {node.name: node.shape[1:] for node in bundle.session.get_inputs()}
    given = [node.name for node in bundle.session.get_outputs()]
    wanted: list[int | str] = list(preparation.input_shape)
    if isinstance(preparation, SeriesPreparation):  # of any length
        taken = {name: ["T", *shape[1:]] for name, shape in taken.items() if len(shape) == 4}
        wanted[0] = "T"
    if taken != {_input_name(preparation): wanted} or given != ["score"]:
        faults.append(f"model.onnx from {taken} to {given}, not from {tuple(wanted)}")
    if faults:
        raise refuse(bundle.folder, ", ".join(faults))


def _kind_faults(bundle: Bundle) -> list[str]:
    """Say what of the contract doesn't fit what the metadata and the preparation speak of."""
    stated, contract = bundle.metadata["input"], bundle.contract
    is_series = isinstance(bundle.preparation, SeriesPreparation)
    kind = SERIES if is_series else MAPS
    faults = []
    if (stated.get("kind") or MAPS) != kind:
        faults.append(f"metadata.json for {stated['kind']}, not {kind}")
    if contract is None:
        if is_series or stated.get("bold"):
            faults.append(f"no {CONTRACT}")
    elif is_series == bool(contract.maps):
        faults.append(f"{CONTRACT} for maps ({', '.join(contract.maps) or 'none'}), not {kind}")
    elif contract.maps:
        faults += _map_faults(contract, bundle.preparation.contrasts)
    return faults


def _map_faults(contract: BoldContract, contrasts: tuple[str, ...]) -> list[str]:
    try:
        names = tuple(recipe.name for recipe in parse_maps(contract.maps))
    except FmnetError as error:
        return [f"{CONTRACT} with maps that this version doesn't know ({error})"]
    if names == contrasts:
        return []
    return [f"{CONTRACT} for maps {', '.join(names)}, not {', '.join(contrasts)}"]


def _input_name(preparation: AnyPreparation) -> str:
    return "image" if isinstance(preparation, Preparation) else "series"
