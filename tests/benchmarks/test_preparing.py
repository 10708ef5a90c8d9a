import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.cleaners import agreement, clean_with_fmnet, clean_with_nilearn
from benchmarks.preparing import AGAIN, FEW, OURS, THEIRS, Preparing
from benchmarks.preprocessed_files import N_NON_STEADY, make_preprocessed
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.confounds import read_nuisance
from fmnet.bold.settings import CleaningSettings
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import VolumeError

SHAPE = (20, 22, 18)
SETTINGS = CleaningSettings("motion6")


@pytest.fixture
def runs(tmp_path):
    return make_preprocessed(tmp_path / "runs", 3, 2, SHAPE, 60)


@pytest.fixture
def store(tmp_path):
    return ArrayStore(tmp_path / "store", CleanedBold(build_grid(12), SETTINGS))


def test_runs_share_images_and_not_confounds(runs):
    images = [run.bold.path.read_bytes() for run in runs]
    assert images[2] == images[0] != images[1]
    assert len({run.confounds.read_bytes() for run in runs}) == 3


def test_confounds_are_usable(runs):
    nuisance = read_nuisance(runs[0], 60, CleaningSettings())
    assert len(nuisance.names) == 26
    assert nuisance.n_non_steady == N_NON_STEADY
    assert 0 < nuisance.mean_fd_mm < 1


def test_nilearn_comes_to_the_same_values(runs, store, tmp_path):
    clean_with_nilearn(runs[:1], store.grid, SETTINGS, tmp_path / "nilearn")
    theirs = np.load(tmp_path / "nilearn" / "0.npy")
    ours = store.add(runs[0])
    found = agreement(ours, theirs)
    assert found["voxels"] > found["inside"] > 100
    assert found["correlation_inside"] > 0.999
    assert found["largest_difference_inside"] < 0.1 * found["sd_inside"]
    shifted = agreement(ours, np.roll(theirs, 7, axis=0))
    assert shifted["correlation_inside"] < 0.5


def test_run_that_can_not_be_used_stops_the_benchmark(runs, store):
    with pytest.raises(VolumeError, match="no such file"):
        clean_with_fmnet([replace(runs[0], confounds=runs[0].confounds.with_name("x.tsv"))], store)


@pytest.mark.slow
def test_suite_writes_tables_and_goals(tmp_path, measure_here):
    measure_here("benchmarks.preparing")
    suite = Preparing(3, 1, 2, SHAPE, 60, 12, 1, SETTINGS)
    lines = suite.run(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "preparing_runs.tsv", sep="\t").set_index("rival")
    assert table["runs"].to_dict() == {OURS: 3, AGAIN: 3, FEW: 2, THEIRS: 2}
    assert (table["seconds_per_run"] > 0).all()
    assert table.loc[AGAIN, "ratio"] < 0.5
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["cleaning"]["strategy"] == "motion6"
    assert len(results["tables"]["agreement_with_nilearn"]) == 2
    assert any("times as fast as nibabel and nilearn" in line for line in lines)
