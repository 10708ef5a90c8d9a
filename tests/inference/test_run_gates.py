from dataclasses import replace

import pytest

from fmnet.inference.quality import Reference
from fmnet.inference.run_gates import (
    RunGates,
    RunMeasures,
    fit_run_gates,
    read_run_gates,
    run_readings,
)

REFERENCE = Reference(("bold",), (1.0,), (2.0,), 9, mean_fd_high_mm=0.2)
GATES = RunGates(9, 90, 0.1, 0.2)
RUN = RunMeasures("run.nii.gz", 2.0, 100, 0.1)


def read(*runs, gates=GATES, reference=REFERENCE):
    readings = run_readings(runs, 2.0, reference, gates, "scan")
    return {reading.gate: reading for reading in readings}


def test_usual_run_passes_and_all_is_told():
    found = read(RUN)
    assert all(reading.is_passed for reading in found.values())
    assert {name: (one.value, one.unit) for name, one in found.items()} == {
        "repetition time": (2.0, "s"),
        "length of the run": (100, "volumes"),
        "duration": (pytest.approx(200 / 60), "min"),
        "head motion": (0.1, "mm"),
    }
    assert found["head motion"].high == pytest.approx(0.3)
    assert (found["length of the run"].low, found["duration"].low) == (60, 2.0)
    assert (found["length of the run"].false_alarms, found["head motion"].false_alarms) == (
        0.1,
        0.2,
    )


@pytest.mark.parametrize(
    ("change", "gate", "found"),
    [
        ({"t_r": 2.03}, "repetition time", "a repetition time of 2.03 s; accepted: 2 s"),
        ({"n_volumes": 59}, "length of the run", "59 volumes after cleaning, 1.97 min"),
        ({"mean_fd_mm": 0.31}, "head motion", "displacement of 0.31 mm"),
        ({"mean_fd_mm": None}, "head motion", "head motion that nobody states"),
        ({"mean_fd_mm": float("nan")}, "head motion", "head motion that nobody states"),
    ],
)
def test_run_unlike_those_of_training_fails_one_gate(change, gate, found):
    readings = read(replace(RUN, **change))
    assert [name for name, one in readings.items() if not one.is_passed] == [gate]
    assert found in str(readings[gate].fault)


def test_runs_of_a_session_are_as_long_as_all_and_as_moved_as_the_worst():
    runs = [replace(RUN, n_volumes=40), replace(RUN, n_volumes=45, mean_fd_mm=0.25)]
    found = read(*runs)
    assert (found["length of the run"].value, found["head motion"].value) == (85, 0.25)
    assert all(one.is_passed for one in found.values())


def test_each_run_that_moved_too_much_is_named():
    runs = [replace(RUN, name=name, mean_fd_mm=0.5) for name in ("one", "other")]
    readings = run_readings([*runs, RUN], 2.0, REFERENCE, GATES, "scan")
    failed = [reading.fault.where for reading in readings if not reading.is_passed]
    assert failed == ["one", "other"]


def test_bundle_of_before_sets_no_limit_to_length():
    found = read(replace(RUN, n_volumes=1), gates=None)
    assert found["length of the run"].is_passed
    assert (found["length of the run"].low, found["head motion"].false_alarms) == (None, None)
    nobody_knows = read(
        replace(RUN, mean_fd_mm=None), reference=replace(REFERENCE, mean_fd_high_mm=None)
    )
    assert (nobody_knows["head motion"].is_passed, nobody_knows["head motion"].high) == (True, None)


def test_false_alarms_are_of_people_left_out():
    people = ["a", "a", "b", "c", "d"]
    found = fit_run_gates([90, 50, 80, 80, 100], [[0.1], [0.1, 0.4], [None], [], [0.1]], people)
    # person a has a scan shorter than the others' by more than the margin, and moved most
    assert found == RunGates(4, 50, 2 / 5, 2 / 5)
    assert fit_run_gates([90, 80], [[0.1], [0.1]], ["a", "b"]) == RunGates(2, 80, 1 / 3, 1 / 3)


def test_written_and_read_they_are_the_same():
    assert read_run_gates({"runs": GATES.to_json()}) == GATES
    assert read_run_gates({"runs": {"n_people": 9}}) is None
    assert read_run_gates({}) is None
