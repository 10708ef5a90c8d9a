"""The header of a model card, as the Hugging Face Hub reads it."""

import pytest
import yaml

from fmnet.export.hub_header import hub_header

GROUPS = {
    "format_version": 2,
    "versions": {"fmnet": "0.1.0"},
    "intended_use": "Research use only. It is not a diagnosis.",
    "warnings": [],
    "input": {"kind": "maps", "bold": None, "space": "MNI152NLin2009aSym"},
    "training": {"positive": "FM", "negative": "HC", "origin": "synthetic"},
    "evidence": {"auc": 0.75, "auc_ci": [0.6, 0.875], "red": ["Motion tells the groups apart."]},
}


def read(metadata):
    """Read a header as the Hub does: YAML between two lines of dashes at the very top."""
    empty, header, rest = hub_header(metadata).split("---\n")
    assert empty == ""
    assert rest == "\n"
    return yaml.safe_load(header)


def test_header_says_what_it_is_and_that_it_is_no_diagnosis():
    found = read(GROUPS)
    assert found["library_name"] == "fmnet"
    assert found["license"] == "unknown"
    assert found["inference"] is False
    assert {"monai", "fmri", "not-for-diagnosis", "synthetic-data", "statistical-maps"} <= set(
        found["tags"]
    )
    assert "not a diagnosis" in found["fmnet"]["intended_use"]
    assert found["fmnet"]["red_findings"] == 1


def test_figure_stands_with_its_interval_and_the_red_findings():
    (model,) = read(GROUPS)["model-index"]
    (result,) = model["results"]
    assert set(result) == {"task", "dataset", "metrics"}
    (metric,) = result["metrics"]
    assert (metric["type"], metric["value"]) == ("roc_auc", 0.75)
    assert metric["name"] == "AUC 0.75 [0.60, 0.88]; 1 red finding"


def test_figure_that_is_not_known_is_left_out():
    found = read(GROUPS | {"evidence": {"auc": None}})
    assert "model-index" not in found
    assert found["fmnet"]["red_findings"] == "unknown"
    assert "model-index" not in read({k: v for k, v in GROUPS.items() if k != "evidence"})


def test_target_has_its_own_figure():
    training = {"origin": "", "target": {"title": "how severe it is"}}
    evidence = {"figure": "R²", "value": 0.3, "value_ci": [0.1, 0.5], "chance": 0.0, "red": []}
    found = read(GROUPS | {"training": training, "evidence": evidence})
    assert found["model_name"] == "Signature: how severe it is"
    (metric,) = found["model-index"][0]["results"][0]["metrics"]
    assert (metric["type"], metric["value"]) == ("other", 0.3)
    assert metric["name"].startswith("R² 0.30 [0.10, 0.50]")


@pytest.mark.parametrize(
    "name", ["a: b", "- x", "---\nlicense: mit", '"', "\x1b[2J", "é# x 🧠", "{"]
)
def test_no_name_breaks_out_of_its_place(name):
    found = read(GROUPS | {"training": GROUPS["training"] | {"positive": name}, "warnings": [name]})
    assert found["license"] == "unknown"
    assert found["model_name"].endswith(" against HC")
    assert len(found["fmnet"]["warnings"]) == 1


def test_card_of_a_bundle_begins_with_it(finished):
    card = (finished.bundle_dir / "MODEL_CARD.md").read_text("utf-8")
    assert card.startswith("---\nlicense: unknown\n")
    assert "\n---\n\n# Signature: " in card
