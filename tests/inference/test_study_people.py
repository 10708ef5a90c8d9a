import json

import numpy as np
import pytest

from fmnet.errors import BundleError
from fmnet.inference.study_people import read_people, region_reference, write_people


def test_ranges_are_of_each_group(rng):
    effects = rng.normal(size=(101, 3))
    labels = np.arange(101) % 2
    content = region_reference(effects, labels, [4, 2, 9], {2: "insula"})
    assert content["regions"]["label"] == [4, 2, 9]
    assert content["regions"]["name"] == ["region 4", "insula", "region 9"]
    low = content["regions"]["negative"]["low"]
    np.testing.assert_allclose(low, np.percentile(effects[labels == 0], 5, axis=0), rtol=1e-3)
    assert content["scores"] == {"positive": [], "negative": []}


def test_scores_are_told_in_order_and_without_those_that_lack(rng):
    scores = [3.0, 1.0, np.nan, 2.0, -1.23456]
    content = region_reference(np.zeros((5, 1)), [1, 1, 1, 0, 0], [1], scores=scores)
    assert content["scores"] == {"positive": [1.0, 3.0], "negative": [-1.235, 2.0]}


def test_scores_of_models_of_other_scales_are_brought_onto_one(rng):
    labels = np.tile([0, 1], 30)
    plain = rng.normal(size=60) + labels
    models = np.repeat([0, 1], 30)
    scaled = np.where(models == 0, 100 + 50 * plain, plain)
    content = region_reference(
        np.zeros((60, 1)), labels, [1], scores=scaled, models=models, scale=(0.0, 1.0)
    )
    means = {group: np.mean(content["scores"][group]) for group in ("positive", "negative")}
    assert means["positive"] == pytest.approx(-means["negative"], abs=1e-3)
    assert 0.2 < means["positive"] < 1.0
    together = np.concatenate([content["scores"][group] for group in means])
    assert np.abs(together).max() < 4


def test_effects_of_models_of_other_scales_are_brought_onto_one(rng):
    labels, models = np.tile([0, 1], 30), np.repeat([0, 1], 30)
    size = np.where(models == 0, 50.0, 1.0)
    scores = size * (rng.normal(size=60) + labels)
    effects = (size * np.where(labels, 0.3, -0.2))[:, None]
    given = {"scores": scores, "models": models, "scale": (0.0, 2.0)}
    found = region_reference(effects, labels, [1], **given, source="out-of-fold")["regions"]
    low, high = found["positive"]["low"][0], found["positive"]["high"][0]
    assert high / low == pytest.approx(1.0, abs=0.5)  # spreads are estimated from 30 scores each
    assert 0.3 < low < high < 1.2
    as_is = region_reference(effects, labels, [1], **given, source="final")["regions"]
    assert as_is["positive"]["high"] == [15.0]


def test_model_that_scored_one_group_alone_is_left_out(rng):
    labels = np.array([0, 1] * 4 + [1, 1, 1, 1])
    models = np.repeat([0, 1], [8, 4])
    content = region_reference(
        np.zeros((12, 1)), labels, [1], scores=rng.normal(size=12), models=models
    )
    assert [len(content["scores"][group]) for group in ("positive", "negative")] == [4, 4]


def test_effects_of_other_people_are_refused():
    with pytest.raises(ValueError, match=r"effects of shape \(3, 2\) for 3 scans and 1 regions"):
        region_reference(np.zeros((3, 2)), [0, 1, 1], [1])


def test_is_read_as_written(tmp_path, rng):
    effects, labels = rng.normal(size=(9, 2)), np.arange(9) % 2
    content = region_reference(effects, labels, [1, 2], {1: "a\x1b"}, effects[:, 0], source="final")
    (tmp_path / "signature").mkdir()
    write_people(content, tmp_path / "signature")
    people = read_people(tmp_path)
    assert (people.labels, people.names) == ((1, 2), ("a\\x1b", "region 2"))
    assert people.source == "final"
    assert people.ranges["negative"].shape == (3, 2)
    np.testing.assert_allclose(
        people.high, np.maximum(people.ranges["positive"][2], people.ranges["negative"][2])
    )
    assert (people.low <= people.high).all()
    assert len(people.scores["negative"]) == 5


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        ("source", "guess", "'source' that is not one of final"),
        ("regions", {}, "no 'regions.label'"),
        ("scores", {"positive": ["x"], "negative": []}, "'scores.positive' that is not a list"),
    ],
)
def test_fields_are_checked(tmp_path, place, value, found):
    content = region_reference(np.zeros((4, 1)), [0, 1, 0, 1], [1]) | {place: value}
    (tmp_path / "signature").mkdir()
    (tmp_path / "signature" / "reference_people.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=found):
        read_people(tmp_path)


def test_two_regions_of_one_number_are_refused(tmp_path):
    (tmp_path / "signature").mkdir()
    write_people(region_reference(np.zeros((4, 2)), [0, 1, 0, 1], [5, 5]), tmp_path / "signature")
    with pytest.raises(BundleError, match="lists don't belong together"):
        read_people(tmp_path)
