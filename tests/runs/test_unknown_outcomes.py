import numpy as np
import pandas as pd

from fmnet.data.folds import Fold
from fmnet.runs.checkpoints import FoldCheckpoints, ScoredFold


def test_outcomes_that_are_not_known_come_back_so(tmp_path):
    rows = pd.DataFrame({"participant_id": ["b", "c"], "fold": [0, 0]})
    rows = rows.assign(outcome_oa=[1.0, np.nan], outcome_pain=[np.nan, np.nan])
    fold, checkpoints = Fold(0, 0, ("a",), ("b", "c"), ()), FoldCheckpoints(tmp_path)
    checkpoints.write(fold, ScoredFold(rows, 0))
    pd.testing.assert_frame_equal(checkpoints.read(fold).rows, rows)
