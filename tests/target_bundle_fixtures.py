"""Bundles with targets: an earlier one of two groups, with other scores and another link."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fmnet.inference.bundle import FORMAT_VERSION
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.links import (
    CumulativeLink,
    EffectLink,
    HazardLink,
    LinearLink,
    SeveralLinks,
    SoftmaxLink,
)
from fmnet.inference.target_bundle import TARGET_USE

EARLIER = Path(__file__).resolve().parent / "bundles" / "format_1"
LINKS = {
    "severity": LinearLink(10.0, 50.0, -20.0, 22.0, "value"),
    "ordinal": CumulativeLink(0.8, (-1.0, 0.5), ("none", "some", "much")),
    "classes": SoftmaxLink(1.2, (0.0, 0.2, -0.2), ("FM", "OA", "HC")),
    "onset": HazardLink(0.7, 0.1, (2.0, 5.0), (0.2, 0.6), "years"),
    "response": EffectLink(2.0, 1.0, (0.5, 0.1, 0.2)),
    "several": SeveralLinks(
        ("pain", "kind"),
        ((0,), (1, 2)),
        (LinearLink(1.0, 0.0, -1.0, 1.0), SoftmaxLink(1.0, (0.0, 0.0), ("OA", "HC"))),
    ),
}


def describe_target(kind):
    """What `Target.describe` says of a made-up target with one of the links."""
    link = LINKS[kind]
    outputs = link.outputs(np.zeros((1, link.n_scores)))
    names = [f"part_{k}" for k in range(link.n_scores)] if link.n_scores > 1 else ["score"]
    return {
        "kind": kind, "title": f"what {kind} tells", "columns": {"value": "fiqr"},
        "scores": names,
        "outputs": [
            {
                "name": name, "unit": "points", "means": f"{name} of people with such a scan.",
                "means_not": f"that this person has {name}",
            }
            for name in outputs
        ],
        "primary": {"name": "r2", "title": "R²", "chance": 0.0},
    }  # fmt: skip


def add_target(folder, kind, has_axis=True, **link):
    """Turn a copy of a bundle of before into one with a target; returns its folder."""
    shutil.copytree(EARLIER, folder)
    target, own = describe_target(kind), LINKS[kind]
    metadata = json.loads((folder / "metadata.json").read_text())
    training = metadata["training"]
    for name in ("positive", "negative", "label"):
        training.pop(name, None)
    figures = {"r2": 0.3, "r2_ci": [0.1, 0.5]}
    training |= {
        "target": target, "crossvalidation": {"network": figures}, "model": "network",
        "title": "scale space",
    }  # fmt: skip
    metadata |= {
        "format_version": FORMAT_VERSION,
        "intended_use": TARGET_USE,
        "choice": {"asked": "auto", "why": "nothing else is", "n_models": 1},
        "evidence": {
            "model": "scale space", "verdict": "Scans tell it.", "red": ["Motion explains it."],
            "amber": [], "figure": "R²", "value": 0.3, "value_ci": [0.1, 0.5], "chance": 0.0,
            "p": 0.01, "p_of": "of the scale space", "n_permutations": 99, "n_subjects": 60,
            "n_scans": 60,
        },
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "link.json").write_text(json.dumps(own.to_json() | link))
    (folder / "calibration.json").unlink()
    onnx.save(several_scores(own.n_scores, has_axis), folder / "model.onnx")
    write_hashes(folder)
    return folder


def several_scores(n_scores, has_axis=True):
    """A program that gives K times the mean of an image, one after the other: (B, K)."""
    image = onnx.load(EARLIER / "model.onnx").graph.input[0].type.tensor_type.shape.dim[1:]
    shape = ["b", *(one.dim_value for one in image)]
    axes = {"axes": [1, 2, 3, 4], "keepdims": 0}
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean" if has_axis else "score"], **axes)]
    factors = numpy_helper.from_array(np.arange(1, n_scores + 1, dtype=np.float32)[None], "by")
    one = numpy_helper.from_array(np.array([1]), "one")
    if has_axis:
        nodes.append(helper.make_node("Unsqueeze", ["mean", "one"], ["column"]))
        nodes.append(helper.make_node("Mul", ["column", "by"], ["score"]))
    kind, given = TensorProto.FLOAT, ["b", n_scores] if has_axis else ["b"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("score", kind, given)],
        [factors, one] if has_axis else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
