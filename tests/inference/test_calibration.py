import json

import numpy as np
import pytest

from fmnet.errors import BundleError
from fmnet.inference.bundle import write_plain
from fmnet.inference.calibration import (
    Calibration,
    calibration_sentence,
    probability_interval,
    read_calibration,
)
from fmnet.inference.unseen_scores import UnseenScores


def written(folder, **fields):
    path = folder / "calibration.json"
    path.write_text(json.dumps({"slope": 0.5, "intercept": -0.25} | fields), "utf-8")
    return path


def test_is_read_as_it_was_written(tmp_path):
    calibration = Calibration(0.5, -0.25, slope_ci=(0.125, 0.75))
    write_plain(calibration, tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json") == calibration
    assert calibration.base_rate == 0.5


def test_files_of_before_are_for_groups_as_in_training(tmp_path):
    calibration = read_calibration(written(tmp_path))
    assert calibration == Calibration(0.5, -0.25, None, None)
    assert "same proportion as in training" in calibration_sentence(calibration)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"base_rate": 0}, "'base_rate' that is not a number between 0 and 1"),
        ({"base_rate": 1.0}, "'base_rate' that is not"),
        ({"base_rate": "half"}, "'base_rate' that is not"),
        ({"base_rate": True}, "'base_rate' that is not"),
        ({"slope_ci": [0.1]}, "'slope_ci' that is not two numbers from 0"),
        ({"slope_ci": [0.9, 0.1]}, "'slope_ci' that is not"),
        ({"slope_ci": [-1, 1]}, "'slope_ci' that is not"),
        ({"slope_ci": [0, 1e300]}, "'slope_ci' that is not"),
        ({"slope_ci": {"0": 0, "1": 1}}, "'slope_ci' that is not"),
        ({"slope_ci": [0.6, 0.9]}, "slope 0.5 outside"),
    ],
)
def test_hostile_values_are_refused(tmp_path, fields, found):
    with pytest.raises(BundleError, match=found):
        read_calibration(written(tmp_path, **fields))


@pytest.mark.parametrize("text", ['{"slope": 1, "intercept": 0, "slope_ci": [0, NaN]}', "[]"])
def test_other_texts_are_refused(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(BundleError, match=r"slope"):
        read_calibration(tmp_path / "calibration.json")


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (Calibration(0.5, 0.0, slope_ci=(0.1, 0.8)), ["rate of 50 %", "0.2 to 1.6 times"]),
        (Calibration(0.5, 0.0, 0.1), ["rate of 10 %", "was not noted"]),
        (Calibration(0.0, 0.0, slope_ci=(0.0, 0.4)), ["told nothing", "rate of 50 %"]),
    ],
)
def test_sentence_says_base_rate_and_how_sure_the_slope_is(calibration, words):
    sentence = calibration_sentence(calibration)
    assert all(word in sentence for word in words)


def drawn(rng, n_positive=30, n_negative=21, apart=2.0):
    return UnseenScores(
        np.sort(rng.normal(apart / 2, 1, n_positive)),
        np.sort(rng.normal(-apart / 2, 1, n_negative)),
    )


def test_probability_follows_the_prevalence_by_bayes():
    stated = Calibration(1.5, -0.25).at_prevalence(0.1)
    assert stated.base_rate == 0.1
    odds = np.exp(1.5 * 0.5 - 0.25) * 0.1 / 0.9
    assert stated.probability(0.5) == pytest.approx(odds / (1 + odds))
    again = stated.at_prevalence(0.5)
    assert again.intercept == pytest.approx(-0.25)
    assert Calibration(1.0, 0.0, 0.2).at_prevalence(None) == Calibration(1.0, 0.0, 0.2)


@pytest.mark.parametrize("prevalence", [None, 0.5, 0.02])
def test_probability_lies_within_its_interval(rng, prevalence):
    unseen, calibration = drawn(rng), Calibration(2.0, 0.0)
    for score in (-8.0, -1.0, 0.0, 0.3, 40.0):
        low, high = probability_interval(unseen, calibration, score, prevalence)
        stated = calibration.at_prevalence(prevalence).probability(score)
        assert 0 <= low <= stated <= high <= 1


def test_interval_is_narrower_with_more_people(rng):
    few, many = (
        probability_interval(drawn(rng, n, n), Calibration(2.0, 0.0), 0.5) for n in (15, 300)
    )
    assert many[1] - many[0] < (few[1] - few[0]) / 2


def test_interval_of_rare_groups_is_lower(rng):
    unseen, calibration = drawn(rng), Calibration(2.0, 0.0)
    usual = probability_interval(unseen, calibration, 0.5)
    assert usual == probability_interval(unseen, calibration, 0.5, 0.5)
    rare = probability_interval(unseen, calibration, 0.5, 0.05)
    assert rare[0] < usual[0]
    assert rare[1] < usual[1]


@pytest.mark.parametrize(
    "unseen",
    [
        UnseenScores(np.zeros(9), np.zeros(8)),
        UnseenScores(np.arange(5.0, 9.0), np.arange(-9.0, -2.0)),  # told apart by all
        UnseenScores(np.array([1.0]), np.array([-1.0])),
        UnseenScores(np.array([-2.0, -1.0, 0.0]), np.array([1.0, 2.0, 3.0])),  # the wrong way
        UnseenScores(np.array([-1e6, 1e6]), np.array([-1e6, 1e6])),
    ],
)
def test_odd_scores_give_intervals_too(unseen):
    for score in (-1e6, 0.0, 1e6):
        low, high = probability_interval(unseen, Calibration(0.5, 0.0), score, 0.1)
        assert 0 <= low <= high <= 1


def test_interval_holds_the_truth_in_most_studies():
    rng, n_within, n = np.random.default_rng(3), 0, 60
    for _ in range(n):
        # probability 0.73 at 0.5; independent scores, so more often than promised
        low, high = probability_interval(drawn(rng, 35, 35), Calibration(2.0, 0.0), 0.5)
        n_within += low <= 1 / (1 + np.exp(-1.0)) <= high
    assert n_within / n > 0.93
