from functools import partial

import numpy as np
import pytest
import torch

from fmnet.data.folds import Fold
from fmnet.inference.feature_gate import distances_left_out
from fmnet.networks.backbones import build_linear, build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.training.data import Training
from fmnet.training.feature_gates import LeftOut, compute_features

SPACE = partial(build_scale_space, paths=["focal"], bands_mm=[[8.0, 24.0]], voxel_size_mm=12.0)


@pytest.fixture
def data(build_study):
    return build_study(np.random.default_rng(1).normal(size=(30, 2, 210)).astype(np.float32))


@pytest.fixture
def inner(data):
    people = tuple(dict.fromkeys(data.participant_ids))
    return Fold(0, 0, people, (), (people[:9], people[9:15], people[15:]))


def build(builder, data):
    torch.manual_seed(2)
    return builder(data.input_shape).eval()


def test_features_are_those_of_each_prepared_scan(data):
    network, fitted = build(SPACE, data), data.fit(np.arange(20))
    rows = np.array([3, 25])
    found = compute_features(network, fitted, rows)
    with torch.no_grad():
        expected = network.features(torch.from_numpy(fitted.inputs(rows)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("builder", [SPACE, build_linear])
def test_people_are_left_out_of_the_preparation_as_well(data, inner, builder):
    network, left_out = build(builder, data), LeftOut(data)
    left_out.add_folds(network, inner)
    train, held_out = data.inner_rows(inner)[1]
    fitted = data.fit(train)
    expected = distances_left_out(
        compute_features(network, fitted, train), compute_features(network, fitted, held_out)
    )
    np.testing.assert_allclose(left_out.distances[held_out], expected)
    everybody = data.fit(np.arange(len(data.values)))
    gate = left_out.fit(network, everybody)
    assert gate.n_people == len(inner.train)
    seen = gate.distances(compute_features(network, everybody, np.arange(len(data.values))))
    assert np.median(seen) < 0.9  # closer than the usual new person


def test_networks_of_inner_folds_judge_whom_they_held_out(data, inner):
    left_out = LeftOut(data)
    for train, held_out in data.inner_rows(inner)[:2]:
        network = build(partial(build_small_cnn, channels=[3]), data)
        scans = data.fit(train)
        left_out.add(Training(scans, train, held_out, 0, 0, ""), network)
        expected = distances_left_out(
            compute_features(network, scans, train), compute_features(network, scans, held_out)
        )
        np.testing.assert_allclose(left_out.distances[held_out], expected)
    assert np.isnan(left_out.distances).sum() == len(data.inner_rows(inner)[2][1])
    assert left_out.fit(network, scans) is None  # somebody was never left out
