import pandas as pd
import pytest

from fmnet.crossval import shards
from fmnet.crossval.shards import checkpoints_of
from fmnet.data.folds import Fold
from fmnet.errors import ConfigError
from fmnet.runs.checkpoints import FoldCheckpoints, ScoredFold, Shard

FOLD = Fold(1, 2, ("a", "b"), ("c",), (("a",), ("b",)))


def test_fold_comes_back_as_it_was(tmp_path):
    parts = FoldCheckpoints(tmp_path / "parts")
    rows = pd.DataFrame({"participant_id": ["c"], "label": [1], "score": [0.1 + 0.2]})
    assert parts.read(FOLD) is None
    parts.write(FOLD, ScoredFold(rows, 7, {"small_cnn": 12}))
    found = parts.read(FOLD)
    pd.testing.assert_frame_equal(found.rows, rows, check_exact=True)
    assert (found.n_epochs, found.further_epochs) == (7, {"small_cnn": 12})
    assert parts.below("seed-1").read(FOLD) is None
    parts.remove()
    assert parts.read(FOLD) is None


def test_folds_of_other_code_or_settings_are_kept_apart(tmp_path, build_study, monkeypatch):
    cohort = build_study().cohort
    place = checkpoints_of(tmp_path, "seed: 0\n", cohort, [FOLD]).folder
    assert checkpoints_of(tmp_path, "seed: 0\nshard: {n: 3}\n", cohort, [FOLD]).folder == place
    assert checkpoints_of(tmp_path, "seed: 1\n", cohort, [FOLD]).folder != place
    weights = tmp_path / "weights"
    named = f"network: {{weights: {weights}}}\n"
    places = set()
    for content in ("one", "other"):
        weights.write_text(content)
        places.add(checkpoints_of(tmp_path, named, cohort, [FOLD]).folder)
    assert len(places) == 2
    monkeypatch.setattr(shards, "code_hash", lambda: "other")
    assert checkpoints_of(tmp_path, "seed: 0\n", cohort, [FOLD]).folder != place


def test_shards_share_everything_out():
    shares = [Shard(index, 3).own(range(8)) for index in range(3)]
    assert sorted(one for share in shares for one in share) == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert Shard().own("abc") == ["a", "b", "c"]


def test_share_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"shard\.index: found 3; accepted: 0 to 2"):
        Shard(3, 3)
