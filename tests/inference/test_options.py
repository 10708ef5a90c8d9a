from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnet.errors import ConfigError
from fmnet.inference.options import read_options, request_of
from fmnet.inference.predict import Request

OF_GROUPS = SimpleNamespace(target=None)
OF_SEVERITY = SimpleNamespace(target={"title": "severity"})


def test_named_scans_may_stand_before_and_after_options():
    options = read_options(["bundle", "--out", "x.tsv", "a.nii", "--space", "MNI152", "b.nii"])
    assert (options.bundle, options.scans) == (Path("bundle"), ["a.nii", "b.nii"])
    assert (options.stage, options.out) == ("", Path("x.tsv"))


def test_bids_app_takes_its_arguments_in_any_order():
    for given in (
        ["data", "out", "participant", "--bundle", "b", "--participant-label", "01", "02"],
        ["--bundle=b", "data", "out", "--participant_label", "01", "02", "--force", "participant"],
    ):
        options = read_options(given)
        assert (options.bids_dir, options.out_dir) == (Path("data"), Path("out"))
        assert (options.bundle, options.stage) == (Path("b"), "participant")
        assert options.participant_label == ["01", "02"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["data", "out", "group"], "--bundle: found none; accepted: BIDS_DIR OUT_DIR, then"),
        (["data", "out", "--bundle", "b"], "found --bundle beside data out"),
        (["data", "out", "all", "--bundle", "b"], "found --bundle beside data out all"),
        (["data", "out", "group", "--bundle", "b", "--out", "x"], "--out: found --out; accepted"),
        (["data", "out", "group", "--bundle", "b", "--cards", "x"], "OUT_DIR, which gets all"),
        (["b", "a.nii", "--participant-label", "01"], "accepted: a BIDS App's arguments"),
    ],
)
def test_forms_that_are_mixed_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        read_options(given)


@pytest.mark.parametrize("option", ["--prevalence", "--level"])
@pytest.mark.parametrize(
    ("value", "said"),
    [("0", "'0' is no number between 0 and 1"), ("x", "'x' is no"), ("nan", "'nan' is no"),
     ("10", "'10' is no number between 0 and 1; 10 % is 0.1")],
)  # fmt: skip
def test_fractions_lie_between_0_and_1(capsys, option, value, said):
    with pytest.raises(SystemExit, match="2"):
        read_options(["b", "a.nii", option, value])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_processes_are_counted(capsys, value):
    with pytest.raises(SystemExit, match="2"):
        read_options(["b", "a.nii", f"--jobs={value}"])
    assert "is no number of processes" in capsys.readouterr().err


def test_request_is_gathered():
    assert request_of(read_options(["b", "a.nii"]), OF_GROUPS) == Request(None, 0.8, False)
    given = ["b", "a.nii", "--prevalence", "0.1", "--level", "0.9", "--force"]
    assert request_of(read_options(given), OF_GROUPS) == Request(0.1, 0.9, True)


@pytest.mark.parametrize("option", ["--prevalence", "--level"])
def test_questions_about_groups_are_refused_for_targets(option):
    with pytest.raises(ConfigError, match=f"{option}: found {option} beside a signature of sev"):
        request_of(read_options(["b", "a.nii", option, "0.3"]), OF_SEVERITY)
    assert request_of(read_options(["b", "a.nii"]), OF_SEVERITY) == Request()
