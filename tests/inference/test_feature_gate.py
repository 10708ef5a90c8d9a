from dataclasses import replace

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from fmnet.errors import BundleError
from fmnet.inference.feature_gate import (
    GATE,
    KEY,
    NUMBERS,
    distances_left_out,
    fit_features,
    read_feature_gate,
)

N, F = 40, 60


def draw(n, seed, n_features=F, mixing=0):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(mixing).normal(size=(n_features, n_features)) / n_features**0.5
    return rng.normal(size=(n, n_features)) @ mix + 3


def names(n):
    return [f"sub-{number}" for number in range(n)]


@pytest.fixture(scope="module")
def gate():
    return fit_features(draw(N, 1), names(N))


@pytest.mark.parametrize(("n", "n_features"), [(20, 50), (70, 30)])
def test_distance_is_that_of_scikit_learn(n, n_features):
    learned, others = draw(n, 1, n_features), draw(5, 2, n_features) * 2
    mean, sd = learned.mean(0), learned.std(0)
    oracle = LedoitWolf(assume_centered=True).fit((learned - mean) / sd)
    expected = oracle.mahalanobis((others - mean) / sd) ** 0.5
    np.testing.assert_allclose(distances_left_out(learned, others), expected, rtol=1e-9)


def test_few_new_people_are_stopped_and_people_learned_from_lie_closer(gate):
    new = gate.distances(draw(2000, 2))
    assert (new > gate.high).mean() < 0.02
    assert np.median(new) == pytest.approx(1, abs=0.06)
    assert np.median(gate.distances(draw(N, 1))) < 0.8


def test_people_unlike_those_of_training_are_stopped(gate):
    assert (gate.distances((draw(50, 2) - 3) * 2 + 3) > gate.high).mean() > 0.9
    reading = gate.read(draw(1, 2)[0] + 9, "new")
    assert (reading.gate, reading.is_passed, reading.false_alarms) == (GATE, False, 1 / (N + 1))
    assert reading.value > reading.high == gate.high
    assert "from the training people; accepted: at most" in str(reading.fault)
    assert gate.read(gate.mean, "new").is_passed


def test_what_can_not_be_computed_is_stopped(gate):
    assert not gate.read(np.full(F, np.nan), "new").is_passed


def test_limits_are_those_of_people_left_out_of_all_that_was_learned(gate):
    far = fit_features(draw(N, 1), names(N), distances_left_out(draw(20, 1), draw(N, 3)))
    assert far.usual > gate.usual
    assert far.usual * far.high > gate.usual * gate.high


def test_whoever_has_many_scans_counts_once():
    once = draw(N, 1)
    unseen = np.linspace(5, 9, N)
    plain = fit_features(once, names(N), unseen)
    again = np.concatenate([once, np.repeat(once[:1], 9, axis=0)])
    many = fit_features(again, [*names(N), *["sub-0"] * 9], np.append(unseen, [unseen[0]] * 9))
    assert (many.usual, many.high, many.n_people) == (
        pytest.approx(plain.usual), pytest.approx(plain.high), N
    )  # fmt: skip


def test_few_people_have_no_gate():
    assert fit_features(draw(9, 1), names(9)) is None
    assert fit_features(draw(18, 1), names(9) * 2) is None


def test_feature_that_does_not_vary_is_left_out():
    features = np.concatenate([draw(N, 1), np.full((N, 1), 4.0)], axis=1)
    gate = fit_features(features, names(N))
    new = np.append(draw(1, 2), 100.0)[None]
    assert gate.distances(new) == pytest.approx(
        fit_features(draw(N, 1), names(N)).distances(new[:, :F])
    )


def test_written_and_read_it_is_the_same(gate, tmp_path):
    read = read_feature_gate({KEY: gate.to_json()}, gate.arrays(), tmp_path)
    new = draw(7, 2)
    np.testing.assert_allclose(read.distances(new), gate.distances(new), rtol=1e-5)
    assert {name: getattr(read, name) for name in NUMBERS} == gate.to_json()
    assert read_feature_gate({}, {}, tmp_path) is None


DAMAGED = {
    "a number is missing": (lambda n, a: n.pop("usual"), "without 'usual'"),
    "an array is missing": (lambda n, a: a.pop(f"{KEY} axes"), "without 'features axes'"),
    "another shape": (lambda n, a: a.update({f"{KEY} mean": np.zeros(3, np.float32)}), "shapes"),
    "no axis": (lambda n, a: a.update({f"{KEY} mean": np.zeros((), np.float32)}), "shapes"),
    "not finite": (lambda n, a: a[f"{KEY} axes"].fill(np.nan), "aren't finite float32"),
    "too large": (lambda n, a: a[f"{KEY} scale"].fill(1e10), "aren't finite float32"),
    "no variance": (lambda n, a: a[f"{KEY} variances"].fill(0), "an axis of no variance"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_gate_is_refused(gate, name, tmp_path):
    change, found = DAMAGED[name]
    numbers, arrays = gate.to_json(), gate.arrays()
    change(numbers, arrays)
    with pytest.raises(BundleError, match=found):
        read_feature_gate({KEY: numbers}, arrays, tmp_path)


def test_more_features_than_any_network_gives_are_refused(gate, tmp_path):
    wide = replace(gate, mean=np.zeros(300), scale=np.zeros(300), axes=np.zeros((39, 300)))
    with pytest.raises(BundleError, match="shapes"):
        read_feature_gate({KEY: gate.to_json()}, wide.arrays(), tmp_path)
