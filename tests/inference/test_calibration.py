import json

import pytest

from fmnet.errors import BundleError
from fmnet.inference.bundle import write_plain
from fmnet.inference.calibration import Calibration, calibration_sentence, read_calibration


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
