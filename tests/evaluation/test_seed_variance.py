import numpy as np
import pandas as pd
import pytest
from test_metrics import one_fold

from fmnet.evaluation.seed_variance import seed_spread


def test_spread_over_splits_and_seeds_are_told_apart():
    scores = {0: [0.0, 1, 2, 3], 1: [2.0, 1, 1.5, 3]}
    table = pd.concat([one_fold([0, 0, 1, 1], scores[k], repeat=k) for k in (0, 1)])
    again = pd.concat([one_fold([0, 0, 1, 1], scores[k]).assign(seed=1 + k) for k in (0, 1)])
    found = seed_spread(table, again, "m")
    assert found["splits_sd"] == pytest.approx(np.std([1.0, 0.75], ddof=1))
    assert found["seeds_sd"] == pytest.approx(np.std([1.0, 1.0, 0.75], ddof=1))
    assert (found["n_splits"], found["n_seeds"]) == (2, 3)


def test_one_of_each_has_no_spread():
    found = seed_spread(one_fold([0, 1], [0.0, 1.0]), pd.DataFrame(), "m")
    assert found == {"n_splits": 1, "splits_sd": None, "n_seeds": 1, "seeds_sd": None}
