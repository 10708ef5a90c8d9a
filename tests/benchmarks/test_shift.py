from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import shift, shift_answers
from benchmarks.changed_maps import CHANGES, UNCHANGED, unchanged
from benchmarks.shift import Shift, false_alarms, goals, summarise
from benchmarks.shift_answers import ANSWERS, answer_of, ask
from benchmarks.shift_studies import Person, RealStudies, SyntheticStudies, Trial
from fmnet.data.nifti import write_volume
from fmnet.data.volume import Volume
from fmnet.errors import ConfigError, Fault
from fmnet.inference.predict import Prediction
from fmnet.inference.quality import Reading

FM_HC = SimpleNamespace(metadata={"training": {"positive": "FM", "negative": "HC"}})


@pytest.mark.parametrize(
    ("groups", "answer"),
    [(("FM",), "right"), (("HC",), "wrong"), (("FM", "HC"), "both"), ((), "neither")],
)
def test_answer_is_read_off_the_set(groups, answer):
    said = Prediction("new", 0.3, 0.6, "ok", groups=groups)
    assert answer_of(FM_HC, said, "FM", level=0.8) == answer
    if len(groups) == 1:  # where no group is right
        assert answer_of(FM_HC, said, "", level=0.8) == "wrong"


@pytest.mark.parametrize(
    ("probability", "answer"), [(0.85, "right"), (0.15, "wrong"), (0.7, "both"), (0.3, "both")]
)
def test_probability_stands_in_where_there_is_no_set(probability, answer):
    assert answer_of(FM_HC, Prediction("new", 0.3, probability, "ok"), "FM", 0.8) == answer


def test_no_score_is_no_answer():
    assert answer_of(FM_HC, Prediction("new", None, None, "cannot_say"), "FM", 0.8) == "abstained"


def rows_of(shift_name, after, gates="", before="right"):
    return pd.DataFrame(
        {"shift": shift_name, "before": before, "after": after, "gates": gates, "group": "FM"}
    )


@pytest.fixture
def rows():
    gates = [""] * 17 + ["scale", "scale", "scale + size"]
    return pd.concat(
        [
            rows_of(UNCHANGED, ["right"] * 17 + ["abstained"] * 3, gates),
            rows_of("mirrored", ["abstained"] * 9 + ["wrong"], ["orientation"] * 9 + [""], "wrong"),
            rows_of("moved", ["right"] * 10, [""] * 10),
        ],
        ignore_index=True,
    )  # fmt: skip


def test_shares_before_and_after(rows):
    table = summarise(rows).set_index("shift")
    assert list(table.index) == [UNCHANGED, "mirrored", "moved"]
    mirrored = table.loc["mirrored"]
    assert mirrored["before_wrong"] == 1
    assert (mirrored["after_abstained"], mirrored["after_wrong"]) == (0.9, 0.1)
    assert mirrored["most_often"] == "orientation (0.90)"
    assert table.loc["moved", "most_often"] == ""
    assert all(sum(table[f"after_{name}"] for name in ANSWERS) == 1)


def test_false_alarms_are_counted_once_for_a_person_and_for_each_gate(rows):
    table = false_alarms(rows).set_index("gate")
    assert table["turned_away"].to_dict() == {"any": 3, "scale": 3, "size": 1}
    assert table.loc["any", "share"] == 0.15
    assert table.loc["size", "low"] < 0.05 < table.loc["size", "high"]


def test_worst_shift_is_named_and_unchanged_people_count_for_none(rows):
    pooled, worst, alarms = goals(rows, false_alarms(rows))
    assert (pooled.measured, worst.measured) == (0.05, 0.1)
    assert "mirrored" in worst.what
    assert not alarms.is_reached


def test_unknown_studies_are_refused():
    with pytest.raises(ConfigError, match=r"suite\.only: found elsewhere"):
        Shift({"strong": SyntheticStudies()}, only=["elsewhere"])


def test_everybody_is_asked_as_they_are_and_some_are_changed():
    volume = Volume(np.ones((1, 7, 8, 9), np.float32), np.diag([8.0, 8, 8, 1]), "MNI152")
    people = [Person(name, "FM", volume) for name in "abc"]
    changes = {UNCHANGED: unchanged, "T1w": CHANGES["T1w"]}
    trial = Trial((), ".nii", people, changes, 2, {"others": people[:1]})
    cases = [(name, person.name, person.group) for name, person, _ in trial.cases()]
    unchanged_cases = [(UNCHANGED, name, "FM") for name in "abc"]
    assert cases == [*unchanged_cases, ("T1w", "a", ""), ("T1w", "b", ""), ("others", "a", "")]


def test_new_people_are_like_those_of_the_study_but_others(tmp_path):
    studies = SyntheticStudies(n_cohorts=2, n_subjects=8, n_new=4, n_changed=2)
    one, again, other = (studies.prepare(number, 0, tmp_path) for number in (0, 0, 1))
    assert sorted(person.group for person in one.people) == ["FM", "FM", "HC", "HC"]
    assert np.isnan(one.people[0].volume.data).any()
    first = [trial.people[0].volume.data for trial in (one, again, other)]
    assert np.array_equal(first[0], first[1], equal_nan=True)
    assert not np.array_equal(first[0], first[2], equal_nan=True)
    assert one.overrides != other.overrides


def test_people_of_a_part_are_not_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.diag([24.0, 24, 24, 1])
    affine[:3, 3] = (-84, -120, -72)
    for name in ("template", *(f"p{k}" for k in range(6))):
        data = rng.normal(size=(1, 8, 9, 7)).astype(np.float32)
        write_volume(Volume(data, affine, "MNI152"), tmp_path / f"{name}.nii.gz")
    lines = "".join(f"p{k}\tp{k}.nii.gz\n" for k in range(6))
    (tmp_path / "images.tsv").write_text(f"participant_id\tpath\n{lines}", "utf-8")
    images, template = str(tmp_path / "images.tsv"), str(tmp_path / "template.nii.gz")
    studies = RealStudies(
        images, template, n_parts=3, strangers={"others": images}, n_strangers=2, voxel_size_mm=12
    )
    left = []
    for number in range(3):
        folder = tmp_path / f"study-{number}"
        trial = studies.prepare(number, 0, folder)
        (training,) = folder.rglob("training.tsv")
        trained = training.read_text("utf-8")
        new = [person.name for person in trial.people]
        assert len(new) == 2
        assert not any(name in trained for name in new)
        assert len(trained.splitlines()) == 1 + 4
        left += new
    assert sorted(left) == [f"p{k}" for k in range(6)]
    assert [person.name for person in trial.strangers["others"]] == ["p0", "p5"]


def test_what_has_to_be_forced_is_withheld(monkeypatch):
    passed = Reading("scale", 1.0)
    failed = Reading("size", 9.0, fault=Fault("new", "9", "1", "look"))
    volume = Volume(np.ones((1, 7, 8, 9), np.float32), np.diag([8.0, 8, 8, 1]), "MNI152")
    for readings, status, after, gates in (
        ((passed,), "ok", "right", ""),
        ((passed, failed), "forced", "abstained", "size"),
    ):
        said = Prediction("new", 0.3, 0.9, status, groups=("FM",), readings=readings)
        monkeypatch.setattr(shift_answers, "predict_scan", lambda *_, said=said: said)
        row = ask(FM_HC, Path("new.nii"), Person("new", "FM", volume), level=0.8)
        assert (row["before"], row["after"], row["gates"]) == ("right", after, gates)


def test_units_are_kept(monkeypatch, tmp_path, rows):
    asked = []

    def ask_all(studies, number, *settings):
        asked.append((number, settings))
        return rows

    monkeypatch.setattr(shift, "ask_all", ask_all)
    monkeypatch.setattr(shift, "code_digest", lambda *_: "as it is")
    suite = Shift({"strong": SyntheticStudies(n_cohorts=2)}, overrides=["batch_size=4"])
    lines = suite.run(tmp_path)
    assert asked == [(0, (0.8, ["batch_size=4"], 0)), (1, (0.8, ["batch_size=4"], 0))]
    assert suite.run(tmp_path) == lines
    assert len(asked) == 2
    assert replace(suite, seed=1).run(tmp_path)
    assert len(asked) == 4
    assert any("wrong alone, mirrored: 0.1 (at most 0.01 wanted: NOT reached)" in x for x in lines)
