import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fmnet.data.resample import smooth_values
from fmnet.errors import BundleError
from fmnet.inference.gate_limits import LEAST_PEOPLE
from fmnet.inference.gates import fit_gates, gates_sentences, read_gates
from tests.gate_fixtures import CONTRASTS, draw_people, flipped, lopsided_grid

GRID = lopsided_grid()
N_PEOPLE = 40
X = np.argwhere(GRID.mask)[:, 0]


@pytest.fixture(scope="module")
def gates():
    people = [f"sub-{number}" for number in range(N_PEOPLE)]
    return fit_gates(draw_people(GRID, N_PEOPLE, seed=2), GRID, CONTRASTS, people)


def failed(gates, values):
    return {reading.gate: reading.fault for reading in gates.read(values, "new") if reading.fault}


def test_few_new_people_fail(gates):
    new = draw_people(GRID, 200, seed=3)
    assert sum(bool(failed(gates, scan)) for scan in new) <= 16
    assert gates.false_alarms <= 0.05
    assert all(limit.false_alarms <= 0.05 for limit in gates.limits)


CHANGES = {
    "scale of visual": lambda scan: scan * np.array([[1.0], [30.0]], np.float32),
    "smoothness of pressure": lambda scan: smooth_values(scan, GRID, 60.0),
    "positive values of pressure": np.abs,
    "similarity to the mean map of visual": np.negative,
    "similarity to the mean map of pressure": lambda scan: (
        scan[::-1] * np.array([[0.1], [10.0]], np.float32)
    ),
    "largest values of pressure": np.sign,
    "coverage": lambda scan: np.where(X < 4, np.nan, scan),
    "centre of the data in x": lambda scan: np.where(X < 4, np.nan, scan),
    "left-right orientation": lambda scan: flipped(scan, GRID, 0),
    "front-back orientation": lambda scan: flipped(scan, GRID, 1),
    "up-down orientation": lambda scan: flipped(scan, GRID, 2),
}


@pytest.mark.parametrize("gate", CHANGES)
def test_what_was_changed_is_named(gates, gate):
    (scan,) = draw_people(GRID, 1, seed=4)
    assert not failed(gates, scan)
    fault = failed(gates, CHANGES[gate](scan))[gate]
    assert fault.where == "new"
    assert "as in 40 training people" in fault.accepted


def test_the_half_without_data_is_named(gates):
    (scan,) = draw_people(GRID, 1, seed=5)
    for missing, half in ((X < 4, "left"), (X >= 4, "right")):
        fault = failed(gates, np.where(missing, np.nan, scan))["coverage"]
        assert f"only 0% of the {half} half" in fault.found


def test_it_is_known_how_often_flipped_maps_are_told(gates):
    assert min(gates.caught.values()) > 0.8
    alike = fit_gates(
        draw_people(GRID, 20, seed=6, spread=40.0), GRID, CONTRASTS, [*map(str, range(20))]
    )
    assert alike.caught["left and right"] < 0.3


def test_nothing_but_missing_voxels_fails_and_breaks_nothing(gates):
    nothing = np.full((2, GRID.n_voxels), np.nan, np.float32)
    assert "coverage" in failed(gates, nothing)


def test_another_unit_in_training_does_not_open_the_gate(gates):
    maps = draw_people(GRID, N_PEOPLE, seed=2)
    maps[7, 1] *= 1e4
    spoilt = fit_gates(maps, GRID, CONTRASTS, [*map(str, range(N_PEOPLE))])
    assert spoilt.n_people == N_PEOPLE - 1
    assert "scale of visual" in failed(spoilt, maps[7])


def test_scans_of_one_person_are_left_out_together():
    maps = draw_people(GRID, 20, seed=7, spread=3.0)
    once = fit_gates(maps, GRID, CONTRASTS, [*map(str, range(20))])
    names = [str(number // 2) for number in range(40)]
    twice = fit_gates(maps.repeat(2, axis=0), GRID, CONTRASTS, names)
    assert twice.n_people == 20
    for one, other in zip(once.limits, twice.limits, strict=True):
        for bound, same in ((one.low, other.low), (one.high, other.high)):
            assert bound is same is None or bound == pytest.approx(same, rel=0.05, abs=0.1)


@pytest.mark.parametrize("n_people", [1, 2, LEAST_PEOPLE - 1])
def test_few_people_get_few_gates_and_no_promise(n_people):
    maps = draw_people(GRID, n_people, seed=8)
    few = fit_gates(maps, GRID, CONTRASTS, [*map(str, range(n_people))])
    assert {limit.measure for limit in few.limits} == {"scale", "positive", "coverage"}
    assert few.false_alarms is None
    assert not failed(few, maps[0])
    assert "scale of pressure" in failed(few, maps[0] * 1e5)


def test_maps_without_a_sign_have_gates_too():
    maps = np.abs(draw_people(GRID, 30, seed=9)) + 1
    gates = fit_gates(maps, GRID, CONTRASTS, [*map(str, range(30))])
    assert not failed(gates, np.abs(draw_people(GRID, 1, seed=10)[0]) + 1)
    assert "positive values of pressure" in failed(gates, draw_people(GRID, 1, seed=10)[0])


def test_disk_and_back_is_identical(gates, tmp_path):
    gates.write(tmp_path)
    (scan,) = draw_people(GRID, 1, seed=11)
    assert read_gates(tmp_path, GRID).read(scan, "new") == gates.read(scan, "new")
    assert read_gates(tmp_path, GRID).caught == gates.caught


def test_gates_are_told_in_sentences(gates):
    told = gates_sentences(gates.describe())
    assert "40 training people in scale, smoothness, positive" in told
    assert "Flipped maps of such people are told: left and right in 100%" in told
    of_runs = gates_sentences(gates.describe(), reads_runs=True)
    assert "field of view, repetition time, length, head motion, or they get no score" in of_runs
    few = fit_gates(draw_people(GRID, 5, seed=8), GRID, CONTRASTS, [*map(str, range(5))])
    assert "fewer than 15 people no more can be asked" in gates_sentences(few.describe())


def test_folders_without_gates_have_none(tmp_path):
    assert read_gates(tmp_path, GRID) is None


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("n_people",), "many", "'n_people' that is not a whole number"),
        (("caught",), {"inside out": 1.0}, "'caught' that is not an object with a fraction"),
        (("limits", 0, "measure"), "colour", "'measure' of a limit that is not one of"),
        (("limits", 0, "low"), "0", "'low' of a limit that is not a finite number"),
        (("limits", 0, "channel"), 2, "a limit of scale for channel 2"),
        (("limits", 0, "channel"), None, "a limit of scale for channel None"),
        (("contrasts",), ["pressure"], "a limit of .* for channel 1"),
        (("caught",), {}, "no weights for front and back, left and right, top and bottom"),
    ],
)
def test_altered_limits_are_refused(gates, tmp_path, path, value, found):
    gates.write(tmp_path)
    content = json.loads((tmp_path / "gates.json").read_text())
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (tmp_path / "gates.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=found):
        read_gates(tmp_path, GRID)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("mean", lambda array: array[:, 1:], "an array of shape"),
        ("usual", lambda array: array.astype(np.float64), "type float64"),
        ("flip 1", lambda array: array * np.nan, "values that aren't finite"),
        ("flip 2", None, "KeyError: 'flip 2'"),
    ],
)
def test_altered_arrays_are_refused(gates, tmp_path, name, change, found):
    gates.write(tmp_path)
    path = tmp_path / "gates.safetensors"
    arrays = load_file(path)
    array = arrays.pop(name)
    if change is not None:
        arrays[name] = np.ascontiguousarray(change(array))
    save_file(arrays, path)
    with pytest.raises(BundleError, match=found):
        read_gates(tmp_path, GRID)
