"""`Bundle`: an exported signature on disk, loaded without torch and checked before use."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.settings import parse_map_names
from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError, Fault, FmnetError
from fmnet.inference.bold_contract import CONTRACT, BoldContract, read_contract
from fmnet.inference.bundle_files import (
    COUNT,
    GATES,
    MAX_BYTES_OF,
    SIGNATURE,
    SPACE,
    TEXT,
    TRAINING_SCANS,
    UNSEEN,
    check_hashes,
    list_of,
    optional,
    read_bounded,
    read_fields,
    refuse,
)
from fmnet.inference.calibration import Calibration, calibration_sentence, read_calibration
from fmnet.inference.gates import Gates, read_gates
from fmnet.inference.links import Link, read_link
from fmnet.inference.onnx_network import FEATURES, OnnxNetwork, load_network
from fmnet.inference.preparation import INPUT_KIND, MAPS, Preparation, read_preparation
from fmnet.inference.quality import Reference, read_reference
from fmnet.inference.study_results import (
    EVIDENCE,
    SIGNATURE_FACTS,
    Evidence,
    SignatureFacts,
    TargetEvidence,
    evidence_of,
    signature_facts_of,
    warnings_of,
)
from fmnet.inference.target_bundle import TARGET_METADATA, link_contradictions, meanings_sentences
from fmnet.inference.training_scans import TrainingScans, read_training_scans
from fmnet.inference.unseen_scores import UnseenScores, read_unseen

#: Of bundles that are written, and of earlier ones that tell two groups apart; both are read.
FORMAT_VERSION, EARLIER_VERSION = 2, 1
#: Largest score, of any sign, that a network gives: those of training are of the order of 1.
MAX_SCORE = 1e6
#: Volumes of the example that a network of series has to score.
EXAMPLE_VOLUMES = 20
#: What scores mean: of two groups, and of a target.
CALIBRATION, LINK = "calibration.json", "link.json"
#: What every bundle holds besides the hashes and one of these; others may lie beside them if they
#: have a hash, bold.json and `bundle_files.OPTIONAL` among them.
FILES = (
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

#: What is relied on of the metadata of all bundles, and of those of two groups.
METADATA = {
    "intended_use": TEXT,
    "input.kind": INPUT_KIND,
    "input.task": optional(TEXT),
    "input.contrasts": list_of(TEXT),
    "input.stat": TEXT,
    "input.space": SPACE,
    "training.origin": TEXT,
    "training.control": optional(TEXT),
    "training.n_scans": COUNT,
    **SIGNATURE_FACTS,
}
GROUP_METADATA = {"training.positive": TEXT, "training.negative": TEXT, **EVIDENCE}


@dataclass(frozen=True, eq=False)
class Bundle:
    """A signature ready for use.

    ``metadata`` has versions, input contract, intended use, how it was trained; ``preparation``
    leads from maps, or from a cleaned series, to the network's input; ``calibration`` from score to
    probability, or else, of a target, ``link`` from scores to its outputs: one of the two is None;
    ``reference`` says what the training scans looked like; ``contract`` how BOLD runs become the
    maps or the series, None where the maps themselves go in; ``unseen`` how the study's own people
    were scored by models that had not seen them, None of a target and in bundles of before.
    """

    folder: Path
    metadata: dict[str, Any]
    preparation: Preparation
    calibration: Calibration | None
    reference: Reference
    network: OnnxNetwork
    contract: BoldContract | None = None
    link: Link | None = None
    unseen: UnseenScores | None = None
    gates: Gates | None = None
    training_scans: TrainingScans | None = None

    def learned_from(self, digests: Iterable[str]) -> bool | None:
        """Tell whether one of some contents, by their SHA-256, is of training; None if unknown."""
        return None if self.training_scans is None else self.training_scans.hold(digests)

    def score(self, images: FloatArray) -> NDArray[np.float32]:
        """Run the network on N inputs, (N, C, X, Y, Z) or (N, T, X, Y, Z), to raw scores.

        They are (N,), or (N, K) of a target.
        """
        return self.network.score(self.preparation.input_name, images)

    def scores_of_scan(self, values: FloatArray) -> NDArray[np.float32]:
        """Score one scan: its maps on the grid, (C, V), or its cleaned series, (T, V): to (K,)."""
        return self.scores_and_features_of_scan(values)[0]

    def scores_and_features_of_scan(
        self, values: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score one scan, (K,), and compute its features, (F,), while the network runs once.

        See `scores_of_scan`. Features, of several windows their mean, say what the scan is like for
        the network; F is 0 for bundles of before, whose networks don't say it.
        """
        if not self.preparation.reads_series and len(values) != len(self.preparation.contrasts):
            names = ", ".join(self.preparation.contrasts)
            found = f"a network that reads maps ({names}) where a series is given"
            raise refuse(self.folder, f"{found}, or other maps: {len(values)} of them")
        scores, features = [], []
        for one in self.preparation.inputs(values):  # the network has one in memory at a time
            found_of_one = self.network.scores_and_features(self.preparation.input_name, one[None])
            scores.append(np.atleast_1d(found_of_one[0][0]))
            features.append(found_of_one[1][0])
        means = [np.mean(column) for column in zip(*scores, strict=True)]
        return np.array(means, np.float32), np.asarray(np.mean(features, axis=0), np.float32)

    @property
    def target(self) -> dict[str, Any] | None:
        """What is predicted, as `fmnet.targets.base.Target.describe` gives it; None: two groups."""
        found: dict[str, Any] | None = self.metadata["training"].get("target")
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the numbers that a scan of a target gets: its scores, then its outputs."""
        if self.link is None or self.target is None:
            return ()
        outputs = self.link.outputs(np.zeros((1, self.link.n_scores)))
        return (*self.target["scores"], *outputs)

    @property
    def meaning(self) -> str:
        """Say what the numbers mean that scans get."""
        if self.calibration is not None:
            return calibration_sentence(self.calibration)
        return meanings_sentences(self.target or {"outputs": []})

    @property
    def space(self) -> str:
        """The space that the training scans were in."""
        return str(self.metadata["input"]["space"])

    @property
    def task(self) -> str:
        """The task of the training runs; empty for maps, and where there were several."""
        return self.metadata["input"].get("task") or ""

    @property
    def warnings(self) -> list[str]:
        """What no score of this signature can be read without, see `choice.warnings_of`."""
        return warnings_of(self.metadata["training"])

    @property
    def evidence(self) -> Evidence | TargetEvidence | None:
        """What the study found out about the signature; None if that is not recorded."""
        return evidence_of(self.metadata)

    @property
    def signature(self) -> SignatureFacts | None:
        """Whether it is known which regions carry the signature; None if nobody has looked."""
        return signature_facts_of(self.metadata)

    @property
    def is_synthetic(self) -> bool:
        """Tell whether the signature was trained on made-up data."""
        return bool(self.metadata["training"]["origin"] == "synthetic")


def read_bundle(folder: Path, give_up: Callable[[BundleError], None] | None = None) -> Bundle:
    """Read a bundle: first the hash of every file, then what they say, then an example's score.

    `give_up` ends the program where the network can't be stopped otherwise, see `OnnxNetwork`.

    Raises
    ------
    BundleError
        If it is no bundle, of another format version, incomplete, altered, holds what no bundle
        does, or can't be run.
    """
    if not os.path.lexists(folder / "metadata.json"):
        raise refuse(folder, "no readable metadata.json (there is no such file)")
    with_hash = check_hashes(folder)
    metadata = read_metadata(folder)
    target = metadata["training"].get("target")
    needed = {*FILES, CALIBRATION if target is None else LINK}
    if missing := sorted(needed - with_hash):
        raise refuse(folder, ", ".join(f"{name} without a hash" for name in missing))
    facts = signature_facts_of(metadata)
    there = {name for name in with_hash if name.startswith(f"{SIGNATURE}/")}
    stated = set() if facts is None else set(facts.files)
    if there != stated:
        faults = [f"{name:.99} missing, of which metadata.json speaks" for name in stated - there]
        faults += [f"{name}, of which metadata.json doesn't speak" for name in there - stated]
        raise refuse(folder, ", ".join(sorted(faults)))
    try:  # read whole: given a path, ONNX Runtime would look around it for more
        model = read_bounded(folder / "model.onnx", MAX_BYTES_OF["model.onnx"])
    except OSError as error:
        raise refuse(folder, f"a part that can't be read ({error})") from error
    preparation = read_preparation(folder)
    bundle = Bundle(
        folder,
        metadata,
        preparation,
        read_calibration(folder / CALIBRATION) if target is None else None,
        read_reference(folder / "reference.json"),
        load_network(model, folder, give_up, None if target is None else len(target["scores"])),
        read_contract(folder) if CONTRACT in with_hash else None,
        None if target is None else read_link(folder / LINK),
        read_unseen(folder / UNSEEN) if target is None and UNSEEN in with_hash else None,
        read_gates(folder, preparation.grid) if GATES in with_hash else None,
        read_training_scans(folder / TRAINING_SCANS) if TRAINING_SCANS in with_hash else None,
    )
    _check_consistent(bundle)
    shape = (1, *bundle.preparation.example_shape)
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    scores, features = bundle.network.scores_and_features(
        bundle.preparation.input_name, noise * bundle.preparation.grid.mask
    )
    for score in map(float, np.ravel(scores)):
        if not abs(score) <= MAX_SCORE:
            raise refuse(folder, f"model.onnx, which scores an example as {score:g}")
    gate = None if bundle.gates is None else bundle.gates.features
    if gate is not None and len(gate.mean) != features.shape[1]:
        found = f"model.onnx with {features.shape[1]} features"
        raise refuse(folder, f"{found}, and a gate of {len(gate.mean)}")
    return bundle


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read ``metadata.json`` and check the format version and every field that is relied on.

    Raises
    ------
    BundleError
        If there is none, it is of another version, or fields are missing or wrong.
    """
    path = folder / "metadata.json"
    metadata = read_fields(path, {})
    if not isinstance(metadata, dict) or "format_version" not in metadata:
        raise refuse(folder, "a metadata.json without format_version")
    version = metadata["format_version"]
    if type(version) is not int or version not in (FORMAT_VERSION, EARLIER_VERSION):
        versions = metadata.get("versions")
        wrote = versions.get("fmnet", "unknown") if isinstance(versions, dict) else "unknown"
        found = f"bundle format {json.dumps(version):.50}"
        action = f"use the fmnet version that wrote the bundle ({wrote!s:.50}), or export again"
        accepted = f"format {EARLIER_VERSION} or {FORMAT_VERSION}"
        raise BundleError(Fault(str(folder), found, accepted, action))
    training = metadata.get("training")
    has_target = isinstance(training, dict) and "target" in training
    fields = read_fields(path, METADATA | (TARGET_METADATA if has_target else GROUP_METADATA))
    if has_target and version == EARLIER_VERSION:
        raise refuse(folder, f"a metadata.json of format {version} with a target")
    return fields


def write_plain(value: Calibration | Reference, path: Path) -> None:
    """Write a small dataclass as JSON."""
    path.write_text(json.dumps(asdict(value), indent=2, allow_nan=False) + "\n", "utf-8")


def _check_consistent(bundle: Bundle) -> None:
    """Raise `BundleError` unless all files speak of the same contrasts, kind and shape."""
    contrasts, preparation = bundle.metadata["input"]["contrasts"], bundle.preparation
    own = {"preparation.json": preparation.contrasts, "reference.json": bundle.reference.contrasts}
    own |= {} if bundle.gates is None else {GATES: bundle.gates.contrasts}
    faults = [
        f"{name} for contrasts {', '.join(found)}, not {', '.join(contrasts)}"
        for name, found in own.items()
        if list(found) != contrasts
    ]
    grid = {"affine": preparation.grid.affine.tolist(), "shape": list(preparation.grid.shape)}
    faults += [
        f"preparation for another {name} than metadata.json's"
        for name, found in grid.items()
        if bundle.metadata["input"].get(name) not in (None, found)
    ]
    training = bundle.metadata["training"]
    if bundle.link is not None:
        faults += link_contradictions(bundle.link, training["target"])
    else:
        positive, negative = training["positive"], training["negative"]
        if not (positive.strip() and negative.strip()) or positive == negative:
            faults.append(f"metadata.json for groups '{positive:.99}' and '{negative:.99}'")
    faults += _kind_faults(bundle)
    session = bundle.network.session
    taken = {node.name: node.shape[1:] for node in session.get_inputs()}
    given = [node.name for node in session.get_outputs()]
    wanted: list[int | str] = list(preparation.input_shape)
    if preparation.reads_series:  # of any length
        taken = {name: ["T", *shape[1:]] for name, shape in taken.items() if len(shape) == 4}
        wanted[0] = "T"
    if taken != {preparation.input_name: wanted} or given not in (["score"], ["score", FEATURES]):
        faults.append(f"model.onnx from {taken} to {given}, not from {tuple(wanted)}")
    kinds = {node.type for node in (*session.get_inputs(), *session.get_outputs())}
    if kinds != {"tensor(float)"}:
        faults.append(f"model.onnx for {', '.join(sorted(kinds))}, not tensor(float)")
    if faults:
        raise refuse(bundle.folder, ", ".join(faults))


def _kind_faults(bundle: Bundle) -> list[str]:
    """Say what of the contract doesn't fit what the metadata and the preparation speak of."""
    stated, contract = bundle.metadata["input"], bundle.contract
    is_series, kind = bundle.preparation.reads_series, bundle.preparation.kind
    faults = []
    if (stated.get("kind") or MAPS) != kind:
        faults.append(f"metadata.json for {stated['kind']}, not {kind}")
    if contract is None:
        if is_series or stated.get("bold"):
            faults.append(f"no {CONTRACT}")
    elif is_series == bool(contract.maps):
        faults.append(f"{CONTRACT} for maps ({', '.join(contract.maps) or 'none'}), not {kind}")
    elif contract.maps:
        wanted = bundle.preparation.contrasts
        try:
            names = tuple(one.name for one in parse_map_names(contract.maps))
        except FmnetError as error:
            faults.append(f"{CONTRACT} with maps that this version doesn't know ({error})")
        else:
            if names != wanted:
                faults.append(f"{CONTRACT} for maps {', '.join(names)}, not {', '.join(wanted)}")
    return faults
