"""Deleting and inserting voxels in people out of fold."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from fmnet.data.grid import Grid
from fmnet.inference.preparation import MapPreparation
from fmnet.networks.backbones import linear_network
from fmnet.signature.map_agreement import standard_weights
from fmnet.signature.studied import FittedModel
from fmnet.signature.study_checks import deletion_of_folds, quick_score
from fmnet.training.fit import predict_scores

SHAPE = (7, 8, 9)


@dataclass
class Maps:
    """Scans whose first voxels differ between the groups."""

    labels: np.ndarray
    values: np.ndarray
    grid: Grid
    prepared: MapPreparation = field(init=False)

    def prepared_by(self, preparation):
        return SimpleNamespace(inputs=lambda rows: preparation.images(self.values[rows]))


@pytest.fixture
def study(rng):
    grid = Grid(np.ones(SHAPE, bool), np.diag([8.0, 8, 8, 1]), "MNI152")
    labels = np.arange(24) % 2
    values = rng.normal(size=(24, 1, grid.n_voxels)).astype(np.float32)
    values[labels == 1, :, :20] += 2
    data = Maps(labels, values, grid)
    standard = (np.zeros((1, grid.n_voxels), np.float32), np.ones((1, grid.n_voxels), np.float32))
    preparation = MapPreparation(grid, ("pain",), 0.5, 0.0, *standard)
    weights = np.zeros((1, *SHAPE), np.float32)
    weights[0, grid.mask] = np.where(np.arange(grid.n_voxels) < 20, 1.0, 0.0)
    network = linear_network(weights, -20.0)

    def fitted(test):
        return FittedModel(network, preparation, np.setdiff1d(np.arange(24), test), test)

    def study_of(*tests):
        folds = [SimpleNamespace(fold=number) for number in range(len(tests))]
        models = [fitted(np.array(test)) for test in tests]
        studied = SimpleNamespace(data=data, folds=folds, seed=0, rival=None)
        own = np.stack([standard_weights(weights[:, grid.mask], values[m.train]) for m in models])
        return studied, models, own

    return study_of


def test_the_voxels_that_differ_are_needed(study):
    found = deletion_of_folds(*study(range(12), range(12, 24)))
    deleted, inserted = (found[kind]["signature"] for kind in ("deletion", "insertion"))
    assert deleted[0] == inserted[-1] > 0.9
    assert deleted[-1] == inserted[0] == 0.5
    assert len(found["deletion"]["random"]) == 20
    assert found["p_faithful"] == pytest.approx(1 / 21)


def test_folds_of_one_group_say_nothing(study):
    assert deletion_of_folds(*study(range(0, 24, 2), range(1, 24, 2))) is None


def test_a_linear_model_scores_by_one_product(study):
    studied, (model, _), _ = study(range(12), range(12, 24))
    inputs = model.inputs(studied.data, np.arange(5))
    expected = predict_scores(model.network, inputs)
    np.testing.assert_allclose(quick_score(model, inputs.shape[1:])(inputs), expected, rtol=1e-4)
