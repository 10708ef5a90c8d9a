"""What is made of the fits of a study, and what of it can't be."""

from types import SimpleNamespace

import numpy as np

from fmnet.signature.study_maps import MapMaker


def test_a_network_without_a_linear_part_is_not_tested_by_voxel():
    model = SimpleNamespace(weights_of_labelings=lambda *_: None)
    data = SimpleNamespace(labels=np.arange(8) % 2)
    studied = SimpleNamespace(model=model, data=data, fold=None, takes_gradients=False)
    maker = MapMaker(studied, None, np.zeros(8), "fwe", n_permutations=19)
    (check,) = maker._test(np.zeros((2, 1, 5)))
    assert (check.name, check.outcome) == ("label_randomisation", "not examined")
