"""What is written as JSON is what the schema says, and the schema says something."""

import json
from pathlib import Path

import pytest
from target_bundle_fixtures import add_target

import fmnet.inference
from fmnet.errors import Fault
from fmnet.inference.bundle import read_bundle
from fmnet.inference.predict import Prediction, Request, failed, scored
from fmnet.inference.quality import Reading
from fmnet.inference.results import Results, about_signature

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads(Path(fmnet.inference.__path__[0], "prediction.schema.json").read_text())
BUNDLE = Path(__file__).resolve().parents[2] / "checkpoints" / "synthetic"
FAULT = Fault("x", "a flat map", "a map", "give another one")
READINGS = (Reading("scale", 0.0, 0.5, None, "SD", 0.01, FAULT), Reading("length", 3, unit="min"))


def write(bundle, predictions, out, request):
    results = Results(out, about_signature(bundle, request))
    results.columns = bundle.columns
    with results:
        for prediction in predictions:
            results.add(prediction)
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def of_groups(tmp_path_factory):
    bundle, request = read_bundle(BUNDLE), Request(0.1, 0.7, True)
    predictions = [
        scored(bundle, "a", [0.5], request=request),
        scored(bundle, "b", [-1.0], "note", request, READINGS),
        failed("c", [FAULT], "cannot_say"),
        failed("d", [FAULT]),
        Prediction("e", 1.0, 0.5, "ok", "", {}, (0.2, 0.9), (), READINGS[1:], True),
        Prediction("f", 1.0, 0.5, "ok", "", {}, (0.2, 0.9), ("FM", "HC")),
    ]
    return write(bundle, predictions, tmp_path_factory.mktemp("groups") / "x.json", request)


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_documents_of_groups_are_valid(of_groups):
    jsonschema.validate(of_groups, SCHEMA)
    assert [one["set"] for one in of_groups["predictions"][4:]] == ["neither", "both"]
    assert of_groups["predictions"][1]["gates_failed"] == ["scale"]


def test_documents_of_targets_are_valid(tmp_path):
    bundle = read_bundle(add_target(tmp_path / "bundle", "severity"))
    predictions = [scored(bundle, "a", [0.5]), failed("b", [FAULT])]
    document = write(bundle, predictions, tmp_path / "x.json", Request())
    jsonschema.validate(document, SCHEMA)
    assert document["predictions"][0]["value"] == 55


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("status", "fine"), ("score", None), ("probability", 1.5), ("gates_failed", "scale"),
        ("in_training", "no"), ("extra", "text"), ("groups", ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_other_predictions_are_refused(of_groups, place, value):
    changed = json.loads(json.dumps(of_groups))
    changed["predictions"][0][place] = value
    with pytest.raises(jsonschema.ValidationError, match=r"is not|was expected|too long|greater"):
        jsonschema.validate(changed, SCHEMA)


def test_scores_that_were_withheld_may_not_be_told(of_groups):
    changed = json.loads(json.dumps(of_groups))
    changed["predictions"][2]["score"] = 0.5
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'null'"):
        jsonschema.validate(changed, SCHEMA)
