"""Bundles whose scores mean something else than one of two groups."""

import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_bundle_fixtures import LINKS, add_target, several_scores

from fmnet.errors import BundleError, ExplanationError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.cli import describe
from fmnet.inference.explain import read_explainer
from fmnet.inference.links import link_faults, link_from_json
from fmnet.inference.model_card import model_card
from fmnet.inference.predict import predictions_table, scored
from fmnet.inference.results import Results, about_signature
from fmnet.inference.study_results import summary


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of bundles by kind, which nobody may change."""
    place = tmp_path_factory.mktemp("targets")
    return {kind: add_target(place / kind, kind) for kind in LINKS}


@pytest.fixture
def copy(folders, tmp_path):
    return shutil.copytree(folders["classes"], tmp_path / "copy")


@pytest.mark.parametrize("kind", LINKS)
def test_scores_and_outputs_are_those_of_the_link(folders, kind):
    bundle, link = read_bundle(folders[kind]), LINKS[kind]
    shape = bundle.preparation.input_shape
    images = np.random.default_rng(5).standard_normal((2, *shape), dtype=np.float32)
    scores = bundle.score(images)
    wanted = images.mean(axis=(1, 2, 3, 4))[:, None] * np.arange(1, link.n_scores + 1)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    values = np.random.default_rng(6).normal(size=(shape[0], bundle.preparation.grid.n_voxels))
    given = bundle.scores_of_scan(values.astype(np.float32))
    assert given.shape == (link.n_scores,)
    prediction = scored(bundle, "a", given)
    outputs = link.outputs(given.astype(float)[None])
    assert tuple(prediction.numbers) == bundle.columns == (*bundle.target["scores"], *outputs)
    for name, value in outputs.items():
        assert prediction.numbers[name] == pytest.approx(float(value[0]))
    assert prediction.probability is None


def test_single_score_may_stand_without_an_axis(tmp_path):
    bundle = read_bundle(add_target(tmp_path / "bundle", "severity", has_axis=False))
    shape = bundle.preparation.input_shape
    assert bundle.score(np.zeros((3, *shape), np.float32)).shape == (3, 1)


def test_table_has_outputs_beside_the_score(folders):
    bundle = read_bundle(folders["severity"])
    table = predictions_table([scored(bundle, "a", [0.5])], bundle.columns)
    assert list(table.columns) == [
        "scan", "score", "value", "value_low", "value_high", "status", "gates_failed",
        "in_training", "reason",
    ]  # fmt: skip
    assert table.loc[0, ["score", "value", "value_low", "value_high"]].tolist() == [0.5, 55, 35, 77]
    assert "1 red finding" in table.loc[0, "reason"]


def test_json_says_with_each_prediction_what_numbers_do_not_mean(folders, tmp_path):
    bundle, out = read_bundle(folders["severity"]), tmp_path / "out.json"
    results = Results(out, about_signature(bundle))
    results.columns = bundle.columns
    with results:
        results.add(scored(bundle, "a", [0.5]))
    found = json.loads(out.read_text())
    assert found["signature"]["target"] == "severity"
    (record,) = found["predictions"]
    assert record["value"] == 55
    assert "probability" not in record
    assert record["outputs"][0]["means_not"] == "that this person has value"
    assert record["evidence"]["value"] == 0.3
    assert "auc" not in record["evidence"]


@pytest.mark.parametrize("score", [np.nan, 1e7, np.inf])
def test_score_that_no_network_gives_is_an_error(folders, score):
    prediction = scored(read_bundle(folders["onset"]), "a", [score])
    assert prediction.status == "error"
    assert prediction.numbers == {}


def test_score_whose_outputs_are_beyond_all_numbers_is_an_error(tmp_path):
    bundle = read_bundle(add_target(tmp_path / "b", "onset", slope=1e6))
    assert scored(bundle, "a", [1e5]).status == "error"


def test_card_and_line_say_what_is_predicted_and_what_not(folders):
    bundle = read_bundle(folders["onset"])
    card = model_card(bundle.metadata)
    assert card.startswith("# Signature: what onset tells")
    assert "| `risk_2` | points | risk_2 of people with such a scan. | that this person" in card
    assert "neither a diagnosis nor a forecast" in card
    assert "R² 0.30 [0.10, 0.50] (0 knows nothing)" in card
    assert "against" not in card.splitlines()[0]
    assert "signature of what onset tells (risk_2 in points" in describe(bundle)
    assert "R² 0.30 [0.10, 0.50]" in summary(bundle.evidence)
    assert "Not: that this person has risk_5." in bundle.meaning


def test_what_explains_scores_reads_two_groups_only(folders):
    with pytest.raises(ExplanationError, match="a signature that tells two groups apart"):
        read_explainer(read_bundle(folders["severity"]), is_forced=True)


def set_field(name, place, value):
    def alter(folder):
        content = json.loads((folder / name).read_text())
        held = content
        *way, last = place.split(".")
        for key in way:
            held = held[key]
        held[last] = value
        (folder / name).write_text(json.dumps(content))

    return alter


def without(name, place):
    def alter(folder):
        content = json.loads((folder / name).read_text())
        held = content
        *way, last = place.split(".")
        for key in way:
            held = held[key]
        del held[last]
        (folder / name).write_text(json.dumps(content))

    return alter


def program(n_scores):
    def alter(folder):
        (folder / "model.onnx").write_bytes(several_scores(n_scores).SerializeToString())

    return alter


META, LINK, AIM = "metadata.json", "link.json", "training.target"
MEANT = {"name": "p_FM", "unit": "p", "means": "a", "means_not": "b"}
ALTERED = {
    "no link": (lambda c: (c / LINK).unlink(), "link.json without a hash"),
    "no target": (without(META, AIM), "no 'training.positive'"),
    "target null": (set_field(META, AIM, None), "no 'training.target.kind'"),
    "target a text": (set_field(META, AIM, "severity"), "no 'training.target.kind'"),
    "version of two groups": (set_field(META, "format_version", 1), "format 1 with a target"),
    "later version": (set_field(META, "format_version", 3), "bundle format 3"),
    "no scores": (set_field(META, f"{AIM}.scores", []), "'training.target.scores' that is not"),
    "a score twice": (set_field(META, f"{AIM}.scores", ["a", "a", "b"]), "scores' that is not"),
    "two scores of three": (set_field(META, f"{AIM}.scores", ["a", "b"]), "for 3 scores, not 2"),
    "scores beyond number": (
        set_field(META, f"{AIM}.scores", [f"s{n}" for n in range(101)]),
        "scores' that is not",
    ),
    "an output that isn't there": (
        set_field(META, f"{AIM}.outputs", [MEANT | {"name": "p_XX"}]),
        "link.json without 'p_XX'",
    ),
    "outputs not described": (set_field(META, f"{AIM}.outputs", [MEANT]), "doesn't describe"),
    "an output without what it doesn't mean": (
        set_field(META, f"{AIM}.outputs", [{"name": "p_FM", "unit": "p", "means": "a"}]),
        "outputs' that is not",
    ),
    "chance that is none": (set_field(META, f"{AIM}.primary.chance", "0"), "primary.chance' that"),
    "a score called as an output": (
        set_field(META, f"{AIM}.scores", ["p_FM", "b", "c"]),
        "an output called 'p_FM'",
    ),
    "evidence that is infinite": (set_field(META, "evidence.value", math.inf), "evidence.value'"),
    "unknown kind": (set_field(LINK, "kind", "pickle"), "'kind' that is not one of"),
    "no slope": (without(LINK, "slope"), "no 'slope'"),
    "slope that is text": (set_field(LINK, "slope", "1"), "'slope' that is not a finite number"),
    "slope that is NaN": (set_field(LINK, "slope", math.nan), "'slope' that is not a finite"),
    "slope beyond all": (set_field(LINK, "slope", 1e300), "'slope' that is not a finite"),
    "a field too many": (set_field(LINK, "code", "x"), "an unknown field 'code'"),
    "too few intercepts": (set_field(LINK, "intercepts", [0.0]), "1 intercepts of 3 groups"),
    "a group twice": (set_field(LINK, "groups", ["FM", "FM", "HC"]), "'groups' that is not"),
    "a group that steers": (set_field(LINK, "groups", ["FM", "O\x1bA", "HC"]), "'groups' that"),
    "many groups": (set_field(LINK, "groups", [f"g{n}" for n in range(101)]), "'groups' that"),
    "a list as link": (lambda c: (c / LINK).write_text("[]"), "no 'kind'"),
    "link cut short": (lambda c: (c / LINK).write_text('{"kind": '), "link.json: found a part"),
    "network of two scores": (program(2), "an array of shape (1, 2) for 1 inputs"),
    "network of four scores": (program(4), "an array of shape (1, 4) for 1 inputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERED)
def test_altered_bundles_are_refused_by_name(copy, name):
    alter, found = ALTERED[name]
    alter(copy)
    write_hashes(copy)
    with pytest.raises(BundleError) as caught:
        read_bundle(copy)
    assert found in str(caught.value)
    assert str(caught.value).isprintable()


def test_target_in_a_bundle_of_two_groups_is_refused(copy):
    set_field(META, "format_version", 1)(copy)
    set_field(META, "training.positive", "FM")(copy)
    set_field(META, "training.negative", "HC")(copy)
    write_hashes(copy)
    with pytest.raises(BundleError, match="of format 1 with a target"):
        read_bundle(copy)


def plain(kind):
    """A link as its file holds it."""
    return json.loads(json.dumps(LINKS[kind].to_json()))


CONTRADICTIONS = [
    ("severity", {"below": 5.0, "above": 1.0}, "above 'above'"),
    ("severity", {"lowest": 5.0, "highest": 1.0}, "'lowest' that is above 'highest'"),
    ("ordinal", {"thresholds": [0.5, -1.0]}, "don't ascend"),
    ("onset", {"times": [5.0, 2.0]}, "don't ascend"),
    ("response", {"variance": [1.0, 5.0, 1.0]}, "'variance' that is none"),
    ("several", {"columns": [[0], [0, 1]]}, "not each of the scores once"),
]


@pytest.mark.parametrize(("kind", "changed", "said"), CONTRADICTIONS)
def test_numbers_that_contradict_each_other_are_named(kind, changed, said):
    assert link_faults(plain(kind)) == []
    assert said in " ".join(link_faults(plain(kind) | changed))


@pytest.mark.parametrize("kind", LINKS)
def test_links_come_back_from_json(kind):
    link = link_from_json(plain(kind))
    scores = np.random.default_rng(0).normal(size=(7, link.n_scores))
    for name, values in LINKS[kind].outputs(scores).items():
        np.testing.assert_array_equal(link.outputs(scores)[name], values)


def test_links_within_links_within_links_are_refused():
    content = plain("several")
    assert link_faults(content | {"links": [content, content]}) == ["no link of a known kind"] * 2


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(LINKS)), st.integers(0, 6), JSON)
def test_any_value_in_any_field_is_refused_or_gives_numbers(kind, place, value):
    content = plain(kind)
    content[sorted(content)[place % len(content)]] = value
    if not link_faults(content):
        link = link_from_json(content)
        with np.errstate(all="ignore"):
            outputs = link.outputs(np.zeros((2, link.n_scores)))
        assert all(values.shape == (2,) for values in outputs.values())


#: Computed from the formulas by hand.
GOLDEN = {
    "severity": {"value": 55.00000000, "value_low": 35.00000000, "value_high": 77.00000000},
    "ordinal": {"p_none": 0.19781611, "p_some": 0.32716308, "p_much": 0.47502081},
    "classes": {"p_FM": 0.41331160, "p_OA": 0.27705105, "p_HC": 0.30963735},
    "onset": {"risk_2": 0.23250703, "risk_5": 0.54791176, "relative_hazard": 1.32312981},
    "response": {"effect": 2.00000000, "effect_low": 0.41979748, "effect_high": 3.58020252},
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_outputs_of_a_score_stay_as_they_are(kind):
    scores = np.array([[0.5, 0.0, 0.426]])[:, : LINKS[kind].n_scores]
    outputs = LINKS[kind].outputs(scores)
    for name, value in GOLDEN[kind].items():
        assert float(outputs[name][0]) == pytest.approx(value, abs=1e-7)
