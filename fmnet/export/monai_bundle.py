"""A bundle as MONAI opens it: what lies in its folder ``configs/``, and what that is run with.

``python -m monai.bundle run`` reads a scan as ``fmnet-predict`` does, gates included, and lets
MONAI's inferer run the network. fmnet itself reads nothing of ``configs/`` but the hashes.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass

from fmnet.errors import Fault, FmnetError, VolumeError
from fmnet.inference.bold import NewBoldScan
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import CONFIGS, is_number
from fmnet.inference.cli import describe as name_signature
from fmnet.inference.explain import score_with_values
from fmnet.inference.find import find_new_runs, find_new_scans
from fmnet.inference.predict import USUAL, NewScan, Prediction, Request, failed, scored
from fmnet.inference.preparation import SERIES

#: What ``configs/metadata.json`` is checked against by ``python -m monai.bundle verify_metadata``.
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
#: What a bundle needs to be run by MONAI, besides MONAI, torch and NumPy.
NEEDED = ("fmnet", "onnxruntime")
UNSTATED = "not stated by the export; see MODEL_CARD.md"
ANY_VOLUMES = 20  # of an input of any length, where MONAI wants a number


def write_configs(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write the folder ``configs/`` of a bundle, from its own metadata."""
    (folder / CONFIGS).mkdir(exist_ok=True)
    contents = {"metadata.json": describe(metadata), "inference.json": inference_config()}
    for name, content in contents.items():
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        (folder / CONFIGS / name).write_text(text, "utf-8")


def describe(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a bundle in the fields of MONAI's schema, from fmnet's own metadata."""
    training, wanted, versions = metadata["training"], metadata["input"], metadata["versions"]
    target, version = training.get("target"), f"{metadata['format_version']}.0.0"
    synthetic = training["origin"] == "synthetic"
    if target is None:
        task = f"Score how much a brain scan is like those of {training['positive']} or "
        task += f"{training['negative']}"
        names = ["score"]
        classes = f"a raw score; larger means more like {training['positive']}"
    else:
        task, names = f"Score brain scans for {target['title']}", target["scores"]
        classes = f"raw scores ({', '.join(names)}), which link.json turns into outputs"
    read = "BOLD runs" if wanted["bold"] else f"maps ({', '.join(wanted['contrasts'])})"
    figures = training.get("crossvalidation", {}).get(training.get("model"), {})
    return {
        "schema": SCHEMA,
        "version": version,
        "changelog": {version: f"exported {metadata['created']} by fmnet {versions['fmnet']}"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {name: versions[name] for name in NEEDED},
        "name": task,
        "task": f"{task}; research use only",
        "description": f"{training['title']}, trained on {training['n_scans']} scans "
        f"({'SYNTHETIC data, for demonstration' if synthetic else 'research data'}); reads {read} "
        f"in {wanted['space']} space. What is known of it is in MODEL_CARD.md.",
        "authors": UNSTATED,
        "copyright": UNSTATED,
        "data_source": "synthetic" if synthetic else "people of a study, who are not in the bundle",
        "data_type": "nibabel",
        "image_classes": "values standardised by voxel; preparation.json says how",
        "pred_classes": classes,
        "eval_metrics": {name: value for name, value in figures.items() if is_number(value)},
        "intended_use": metadata["intended_use"],
        "references": [],
        "network_data_format": {
            "inputs": {"image": _image(wanted)},
            "outputs": {
                "pred": {
                    "type": "tuples",
                    "format": "scores",
                    "num_channels": len(names),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(number): name for number, name in enumerate(names)},
                }
            },
        },
    }


def _image(wanted: Mapping[str, Any]) -> dict[str, Any]:
    channels = {str(number): name for number, name in enumerate(wanted["contrasts"])}
    n_channels, is_series = len(channels), wanted["kind"] == SERIES
    if is_series:
        n_channels = wanted.get("window_volumes") or ANY_VOLUMES
        channels = {"0": "first volume; others follow in time"}
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": n_channels,
        "spatial_shape": list(wanted["shape"]),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": channels,
    }


def inference_config() -> dict[str, Any]:
    """Write down the parts of a run, by the names that MONAI gives them."""
    own = "fmnet.export.monai_bundle"
    network = {"_target_": f"{own}.OnnxScores", "bundle": "@bundle"}
    program = {"_target_": f"{own}.TorchScores", "bundle": "@bundle", "device": "@device"}
    listed = {"_target_": f"{own}.list_scans", "bundle": "@bundle"}
    listed |= {"source": "@scan", "space": "@space"}
    return {
        "imports": ["$import pathlib", "$import torch"],
        "bundle_root": ".",
        "scan": "",
        "space": "",
        "prevalence": None,
        "level": USUAL.level,
        "force": USUAL.is_forced,
        "device": "$torch.device('cpu')",
        "dataset_dir": "@scan",
        "bundle": {
            "_target_": "fmnet.inference.bundle.read_bundle",
            "folder": "$pathlib.Path(@bundle_root)",
        },
        "request": {
            "_target_": "fmnet.inference.predict.Request",
            "prevalence": "@prevalence",
            "level": "@level",
            "is_forced": "@force",
        },
        "network_def": network,
        "torch_network": program,
        "preprocessing": {
            "_target_": f"{own}.ReadScan",
            "bundle": "@bundle",
            "request": "@request",
        },
        "dataset": {
            "_target_": "monai.data.Dataset",
            "data": listed,
            "transform": "@preprocessing",
        },
        "inferer": {"_target_": "monai.inferers.SimpleInferer"},
        "postprocessing": {
            "_target_": f"{own}.TellScores",
            "bundle": "@bundle",
            "request": "@request",
        },
        "evaluator": {
            "_target_": f"{own}.ScanEvaluator",
            "dataset": "@dataset",
            "network": "@network_def",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "device": "@device",
        },
        "run": ["$@evaluator.run()"],
    }


class OnnxScores(torch.nn.Module):
    """Let MONAI run a bundle's ONNX program, on the CPU, as ``fmnet-predict`` does."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.bundle = bundle

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score inputs: (B, C, X, Y, Z), or (B, T, X, Y, Z), to (B, K)."""
        found = self.bundle.score(images.detach().cpu().numpy())
        return torch.from_numpy(found).reshape(len(images), -1).to(images.device)


class TorchScores(torch.nn.Module):
    """Let MONAI run a bundle's ``model.pt2``, on any device.

    ``torch.export.load`` may unpickle what it finds there, so only for bundles that one trusts.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        super().__init__()
        program = torch.export.load(bundle.folder / "model.pt2")
        moved = move_to_device_pass(program, torch.device(device))
        self._program = (moved.module(),)  # no child: exported programs refuse to be set to eval

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Score inputs: (B, C, X, Y, Z), or (B, T, X, Y, Z), to (B, K)."""
        found = self._program[0](images)
        scores: torch.Tensor = found[0] if isinstance(found, tuple | list) else found  # features
        return scores.reshape(len(images), -1)


def list_scans(bundle: Bundle, source: str | Sequence[str], space: str) -> list[dict[str, Any]]:
    """List the scans of an argument as ``fmnet-predict`` takes it; what is of no use has no scan.

    The command line of MONAI may give names joined by commas as a list.
    """
    joined = source if isinstance(source, str) else ",".join(source)
    scans: Sequence[NewScan | NewBoldScan]
    if bundle.contract is None:
        scans, errors = find_new_scans(joined, bundle, space)
    else:
        scans, errors = find_new_runs(joined, bundle, space)
    return [{"prediction": one} for one in errors] + [{"scan": one} for one in scans]


class ReadScan:
    """Read a scan, let it pass the gates, and prepare it for the network."""

    def __init__(self, bundle: Bundle, request: Request = USUAL) -> None:
        self.bundle, self.request = bundle, request

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Add what is known of a scan, and the network's inputs if it may be scored.

        They are ``image``, (1, C, X, Y, Z), or (W, T, X, Y, Z) of W windows of a series.
        """
        if "scan" not in item:
            return dict(item)
        try:
            prediction, values = score_with_values(self.bundle, item["scan"], self.request)
        except FmnetError as error:
            return {"prediction": failed(item["scan"].name, error.faults)}
        if values is None or prediction.score is None:
            return {"prediction": prediction}
        inputs = np.asarray(self.bundle.preparation.inputs(values))
        return {"prediction": prediction, "image": torch.from_numpy(inputs)}


class TellScores:
    """Say what the scores of the network mean."""

    def __init__(self, bundle: Bundle, request: Request = USUAL) -> None:
        self.bundle, self.request = bundle, request

    def __call__(self, item: Mapping[str, Any]) -> Prediction:
        """Put what follows from the network's scores, ``pred`` (W, K), into a prediction."""
        before: Prediction = item["prediction"]
        if "pred" not in item:
            return before
        scores = item["pred"].detach().cpu().numpy().mean(axis=0)
        after = scored(self.bundle, before.scan, scores, "", self.request, before.readings)
        if after.status == "error":
            return after
        return replace(after, reason=before.reason, is_of_training=before.is_of_training)


class ScanEvaluator:
    """Run the network on each scan by MONAI's inferer, and print a line of JSON for each.

    MONAI's own evaluators need ignite, and don't score scans of several windows.
    """

    def __init__(
        self,
        dataset: Iterable[Mapping[str, Any]],
        network: torch.nn.Module,
        inferer: Callable[[torch.Tensor, torch.nn.Module], torch.Tensor],
        postprocessing: TellScores,
        device: torch.device,
    ) -> None:
        self.dataset, self.network, self.inferer = dataset, network, inferer
        self.postprocessing, self.device = postprocessing, device

    def run(self) -> list[Prediction]:
        """Score all scans; `VolumeError` in the end if none has a score."""
        told, bundle = [], self.postprocessing.bundle
        for said in (name_signature(bundle), bundle.metadata["intended_use"]):
            print(said, file=sys.stderr)  # noqa: T201
        for item in self.dataset:
            pred = {}
            if "image" in item:
                with torch.no_grad():  # windows one by one, as in a bundle
                    windows = item["image"].to(self.device)
                    scores = [self.inferer(one[None], self.network) for one in windows]
                pred = {"pred": torch.cat(scores)}
            told.append(self.postprocessing({**item, **pred}))
            print(json.dumps(told[-1].record(bundle.columns), allow_nan=False), flush=True)  # noqa: T201
        if not any(one.score is not None for one in told):
            accepted, action = "a scan that the signature can score", "see the reasons above"
            raise VolumeError(Fault("scan", f"no score for {len(told)} scans", accepted, action))
        return told
