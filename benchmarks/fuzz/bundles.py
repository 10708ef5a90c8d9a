"""Readers of a bundle's files, one by one: nothing here compares hashes before."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper
from safetensors.numpy import save

from benchmarks.corpus.craft import nifti, pack_gzip
from benchmarks.fuzz.headers import GRID
from benchmarks.fuzz.target import Reader
from fmnet.data.signature_map import file_stems, read_signature_map
from fmnet.inference.bold_contract import cleaning_words, read_contract
from fmnet.inference.bundle import read_metadata
from fmnet.inference.bundle_files import (
    CHECKSUMS,
    GATE_ARRAYS,
    GATES,
    SEAL,
    SIGNATURE,
    TRAINING_SCANS,
    UNSEEN,
    check_hashes,
    write_hashes,
)
from fmnet.inference.calibration import (
    Calibration,
    calibration_sentence,
    probability_interval,
    read_calibration,
)
from fmnet.inference.feature_gate import fit_features
from fmnet.inference.gates import fit_gates, read_gates
from fmnet.inference.links import (
    CumulativeLink,
    EffectLink,
    HazardLink,
    LinearLink,
    LogisticLink,
    SeveralLinks,
    SoftmaxLink,
    read_link,
)
from fmnet.inference.onnx_network import check_program
from fmnet.inference.preparation import MapPreparation, read_preparation
from fmnet.inference.quality import read_reference, scale_readings
from fmnet.inference.run_gates import RunGates
from fmnet.inference.sets import fit_sets, level_sentence
from fmnet.inference.signing import check_signature, sign_hashes
from fmnet.inference.study_people import PEOPLE, read_people
from fmnet.inference.study_results import evidence_of, signature_facts_of, summary, warnings_of
from fmnet.inference.training_scans import read_training_scans, salt_hashes
from fmnet.inference.unseen_scores import read_unseen

SHIPPED = Path(__file__).resolve().parents[2] / "tests" / "bundles" / "format_1"
SIDECAR = f"{file_stems(('pain',), 'MNI152', 'weights')[0]}.json"
#: Masks of up to so many voxels are worked with.
MAX_VOXELS = 2000
#: Whose maps the gates are made of, and the key that signs.
N_PEOPLE, KEY = 20, Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
UNSEEN_SCORES = {"positive": [-0.2, 0.4, 1.1], "negative": [-1.2, -0.5, 0.3]}
CONTRACT = {
    "cleaning": {"strategy": "motion24", "low_hz": 0.01, "high_hz": None, "min_volumes": 9},
    "maps": ["alff", "seed:pcc=0,-52,18"], "t_r": 2.0,
}  # fmt: skip
RANGES = {"low": [0.1, 0.2], "middle": [0.2, 0.3], "high": [0.3, 0.4]}
REFERENCE_PEOPLE = {
    "source": "final",
    "regions": {"label": [1, 2], "name": ["a", "b"], "positive": RANGES, "negative": RANGES},
    "scores": {"positive": [0.1, 0.4], "negative": [-0.2, 0.3]},
}
LINKS = (
    LinearLink(10.0, 50.0, -20.0, 22.0, "value", 0.0, 100.0),
    LogisticLink(1.0, 0.0, "FM"),
    CumulativeLink(0.8, (-1.0, 0.5), ("none", "some", "much")),
    HazardLink(0.7, 0.1, (2.0, 5.0), (0.2, 0.6), "years"),
    EffectLink(2.0, 1.0, (0.5, 0.1, 0.2)),
    SeveralLinks(
        ("pain", "kind"),
        ((0,), (1, 2)),
        (LinearLink(1.0, 0.0, -1.0, 1.0), SoftmaxLink(1.0, (0.0, 0.0), ("OA", "HC"))),
    ),
)


def bundle_readers() -> list[Reader]:
    """List them."""
    names = ("metadata.json", "calibration.json", "reference.json", "preparation.json")
    metadata, calibration, reference, preparation = (
        (SHIPPED / name).read_bytes() for name in names
    )
    about = {"Units": "a", "Sign": "b", "Model": "c", "Source": "final", "NumberOfSubjects": 9}
    ones = np.ones((1, GRID.n_voxels), np.float32)
    arrays = save({"mask": np.ones(GRID.shape, np.uint8), "mean": ones, "weight": ones})
    listed = "".join(f"{0:064d}  {name}\n" for name in ("a.json", f"{SIGNATURE}/b"))
    links = [json.dumps(link.to_json()).encode() for link in LINKS]
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    small = json.loads(preparation) | {"shape": GRID.shape, "affine": GRID.affine.tolist()}
    return [
        Reader(_metadata, names[0], [metadata, _of_target(json.loads(metadata))]),
        Reader(_calibration, names[1], [calibration]),
        Reader(_reference, names[2], [reference]),
        Reader(_preparation, names[3], [json.dumps(small).encode()], _beside_preparation),
        Reader(_preparation, "preparation.safetensors", [arrays], _beside_preparation),
        Reader(_contract, "bold.json", [json.dumps(CONTRACT).encode()]),
        Reader(_link, "link.json", links),
        Reader(_people, f"{SIGNATURE}/{PEOPLE}", [json.dumps(REFERENCE_PEOPLE).encode()]),
        Reader(check_hashes, CHECKSUMS, [listed.encode()], _beside_hashes),
        Reader(_program, "model.onnx", [_network()]),
        Reader(_weights, SIDECAR, [json.dumps(about).encode()], _beside_sidecar),
        Reader(_unseen, UNSEEN, [json.dumps(UNSEEN_SCORES).encode()]),
        Reader(_gates, GATES, [_gate_file(GATES)], _beside_gates),
        Reader(_gates, GATE_ARRAYS, [_gate_file(GATE_ARRAYS)], _beside_gates),
        Reader(_learned, TRAINING_SCANS, [json.dumps(salt_hashes("ab").to_json()).encode()]),
        Reader(_seal, SEAL, [KEY.sign(b"")], _beside_seal),
        Reader(_seal, "key.pem", [public], _beside_seal),
    ]


def _metadata(folder: Path) -> None:
    fields = read_metadata(folder)
    signature_facts_of(fields)
    summary(evidence_of(fields))
    warnings_of(fields["training"])


def _calibration(folder: Path) -> None:
    calibration = read_calibration(folder / "calibration.json")
    calibration_sentence(calibration)
    found = calibration.probability([-1e6, 0.0, 1e6])
    if not ((found >= 0) & (found <= 1)).all():
        raise AssertionError(f"probabilities {found}")


def _reference(folder: Path) -> None:
    reference = read_reference(folder / "reference.json")
    scale_readings(np.ones((len(reference.contrasts), 9), np.float32), reference, "a")


def _preparation(folder: Path) -> None:
    found = read_preparation(folder)
    if found.grid.mask.size > MAX_VOXELS or not isinstance(found, MapPreparation):
        return
    values = found.prepare(np.ones((1, len(found.contrasts), found.grid.n_voxels), np.float32))
    if not np.isfinite(values).all():
        raise AssertionError("inputs that aren't finite")


def _contract(folder: Path) -> None:
    if (contract := read_contract(folder)) is not None:
        cleaning_words(contract.cleaning)


def _link(folder: Path) -> None:
    link = read_link(folder / "link.json")
    for score in (0.0, 1e6):
        with np.errstate(all="ignore"):
            link.outputs(np.full((2, link.n_scores), score))


def _people(folder: Path) -> None:
    found = read_people(folder)
    if not len(found.low) == len(found.high) == len(found.labels):
        raise AssertionError("ranges that don't belong to the regions")


def _program(folder: Path) -> None:
    with suppress(ValueError):  # in words for `load_network`
        check_program((folder / "model.onnx").read_bytes())


def _weights(folder: Path) -> None:
    read_signature_map(folder, "weights", GRID, ("pain",)).sidecar("pain")


def _unseen(folder: Path) -> None:
    unseen = read_unseen(folder / UNSEEN)
    for level in (0.5, 0.8, 0.999):
        fit_sets(unseen, level).holds(0.3)
        level_sentence(unseen, level)
    low, high = probability_interval(unseen, Calibration(1.0, 0.0), 0.3, 0.1)
    if not 0 <= low <= high <= 1:
        raise AssertionError(f"an interval from {low} to {high}")


def _gates(folder: Path) -> None:
    if (gates := read_gates(folder, GRID)) is not None:
        values = np.ones((len(gates.contrasts), GRID.n_voxels), np.float32)
        values[:, ::3] = np.nan
        gates.read(values, "a")
        if gates.features is not None:
            gates.features.read(np.ones(len(gates.features.mean), np.float32), "a")


def _learned(folder: Path) -> None:
    read_training_scans(folder / TRAINING_SCANS).hold(["a"])


def _seal(folder: Path) -> None:
    check_signature(folder, folder / "key.pem")


def _beside_gates(folder: Path) -> None:
    values = np.random.default_rng(0).normal(size=(N_PEOPLE, 1, GRID.n_voxels))
    people = [f"sub-{number}" for number in range(N_PEOPLE)]
    gates = fit_gates(values.astype(np.float32), GRID, ("pain",), people)
    features = fit_features(values[:, 0, :5], people)
    replace(gates, features=features, runs=RunGates(N_PEOPLE, 90, 0.05, 0.05)).write(folder)


def _gate_file(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        _beside_gates(Path(folder))
        return (Path(folder) / name).read_bytes()


def _beside_seal(folder: Path) -> None:
    (folder / CHECKSUMS).touch()
    sign_hashes(folder, KEY)
    form = PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, form))


def _beside_preparation(folder: Path) -> None:
    ones = np.ones((1, GRID.n_voxels), np.float32)
    MapPreparation(GRID, ("pressure",), 0.5, 8.0, ones, ones).write(folder)


def _beside_hashes(folder: Path) -> None:
    for name in ("a.json", "b.json"):
        (folder / name).write_text(name)
    write_hashes(folder)


def _beside_sidecar(folder: Path) -> None:
    image = nifti(np.ones(GRID.shape, np.float32), GRID.affine)
    (folder / SIDECAR).with_suffix(".nii.gz").write_bytes(pack_gzip(image))


def _of_target(metadata: Mapping[str, Any]) -> bytes:
    """Write the metadata of a bundle that predicts a number."""
    target = {
        "kind": "severity", "title": "how severe", "columns": {"value": "fiqr"},
        "scores": ["score"], "primary": {"name": "r2", "title": "R2", "chance": 0.0},
        "outputs": [{"name": "value", "unit": "points", "means": "a.", "means_not": "b."}],
    }  # fmt: skip
    evidence = {"figure": "R2", "value": 0.3, "value_ci": [0.1, 0.5], "chance": 0.0, "p": 0.01}
    training = {**metadata["training"], "target": target}
    fields = {"format_version": 2, "training": training, "evidence": evidence}
    return json.dumps({**metadata, **fields}).encode()


def _network() -> bytes:
    node = helper.make_node("ReduceMean", ["image"], ["score"], axes=[1], keepdims=0)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in node.input]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph([node], "g", ends, ends, [weight])
    return bytes(helper.make_model(graph).SerializeToString())
