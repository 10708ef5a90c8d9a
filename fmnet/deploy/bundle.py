"""`Bundle`: an exported signature on disk, loaded without torch and checked before use."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.deploy.calibration import Calibration, read_calibration
from fmnet.deploy.fields import COUNT, SPACE, TEXT, list_of, read_fields
from fmnet.deploy.preparation import Preparation, read_preparation
from fmnet.deploy.quality import Reference, read_reference
from fmnet.errors import BundleError, Fault

FORMAT_VERSION = 1
SUMS = "SHA256SUMS"
INTENDED_USE = (
    "Research use only. The score describes how much a brain map resembles those of one group of "
    "research participants rather than another. It is not a diagnosis and must not be used for "
    "any decision about a person's care."
)

#: What is relied on of the metadata.
METADATA = {
    "intended_use": TEXT,
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
    preparation : Preparation
        From maps to the network's input.
    calibration : Calibration
        From score to probability.
    reference : Reference
        What the training scans looked like.
    session : onnxruntime.InferenceSession
        The network.
    """

    folder: Path
    metadata: dict[str, Any]
    preparation: Preparation
    calibration: Calibration
    reference: Reference
    session: ort.InferenceSession

    def score(self, images: FloatArray) -> NDArray[np.float32]:
        """Run the network on prepared scans, (N, C, X, Y, Z), to raw scores (N,)."""
        (scores,) = self.session.run(["score"], {"image": images})
        return np.asarray(scores, dtype=np.float32)

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
    check_sums(folder)
    bundle = Bundle(
        folder,
        metadata,
        read_preparation(folder),
        read_calibration(folder / "calibration.json"),
        read_reference(folder / "reference.json"),
        _read_model(folder),
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
        raise _refuse(folder, f"no readable metadata.json ({error})") from error
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


def write_sums(folder: Path) -> None:
    """Write the hash of every file, in the form that ``sha256sum -c`` reads."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{_sha256(path)}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")


def check_sums(folder: Path) -> None:
    """Raise `BundleError` naming every file that is missing or altered."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise _refuse(folder, f"no readable {SUMS} ({error})") from error
    needed = {"metadata.json", "model.onnx", "preparation.json", "preparation.safetensors"}
    needed |= {"calibration.json", "reference.json"}
    faults = [f"{name} without a hash" for name in sorted(needed - set(expected))]
    for name, digest in sorted(expected.items()):
        path = folder / name
        if Path(name).name != name or not path.is_file():
            faults.append(f"{name} missing")
        elif _sha256(path) != digest:
            faults.append(f"{name} altered since export")
    if faults:
        raise _refuse(folder, ", ".join(faults))


def write_plain(value: Calibration | Reference, path: Path) -> None:
    """Write a small dataclass as JSON."""
    path.write_text(json.dumps(asdict(value), indent=2, allow_nan=False) + "\n", "utf-8")


def _read_model(folder: Path) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises types of its own for a model it can't load
        raise _refuse(folder, f"a part that can't be read ({error})") from error


def _check_parts(bundle: Bundle) -> None:
    """Raise `BundleError` unless all parts speak of the same contrasts and shape."""
    contrasts, preparation = bundle.metadata["input"]["contrasts"], bundle.preparation
    faults = [
        f"{name} for contrasts {', '.join(found)}, not {', '.join(contrasts)}"
        for name, found in (
            ("preparation.json", preparation.contrasts),
            ("reference.json", bundle.reference.contrasts),
        )
        if list(found) != contrasts
    ]
    taken = {node.name: node.shape[1:] for node in bundle.session.get_inputs()}
    given = [node.name for node in bundle.session.get_outputs()]
    if taken != {"image": list(preparation.input_shape)} or given != ["score"]:
        faults.append(f"model.onnx from {taken} to {given}, not from {preparation.input_shape}")
    if faults:
        raise _refuse(bundle.folder, ", ".join(faults))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _refuse(folder: Path, found: str) -> BundleError:
    return BundleError(
        Fault(
            str(folder),
            found,
            "a bundle folder exactly as scripts/export.py wrote it",
            "copy it again from its source, or export again",
        )
    )
