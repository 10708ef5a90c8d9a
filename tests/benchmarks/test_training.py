import json
from functools import partial

import numpy as np
import pytest
from monai.networks.nets import Classifier

from benchmarks.permuting import PermutationSpeed
from benchmarks.setting import Setting
from benchmarks.throughput import Throughput
from benchmarks.training import TrainingSpeed
from benchmarks.usual import usual_form
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.residual import MergedResidualUnit
from fmnet.training.compute import Compute

SMALL = Setting(12, 12, 2, 2, 2, 2, partial(build_small_cnn, channels=(4, 6)))
TINY = Throughput(8, 2, 2, 1, SMALL.network)


@pytest.mark.slow
def test_every_rival_runs_the_whole_study(tmp_path):
    ways = {"one process": Compute(), "side by side": Compute(n_stacked=2)}
    suite = TrainingSpeed(
        SMALL, compute=Compute(), ways=ways, n_turns=2, sizes=(8, 16), throughput=TINY
    )
    lines = suite.run(tmp_path)
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    rivals = [row["rival"] for row in found["tables"]["study"]]
    assert rivals == ["fmnet", "MONAI + Lightning", "fmnet, linear SVM", "nilearn Decoder"]
    assert [row["people"] for row in found["tables"]["growth_with_people"]] == [8, 16]
    assert [row["rival"] for row in found["tables"]["ways_to_compute"]] == list(ways)
    assert {"setting", "ways", "n_turns"} <= set(found["settings"])
    assert any(line.startswith("network, usual form over fmnet") for line in lines)


@pytest.mark.slow
def test_permutations_are_timed_in_each_way(tmp_path):
    suite = PermutationSpeed(
        SMALL, 2, {"one": Compute(), "both": Compute(n_stacked=2)}, sizes=(1, 2), minutes=1e-9
    )
    lines = suite.run(tmp_path)
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    rows = found["tables"]["permutations"]
    assert [row["rival"] for row in rows] == ["one", "both", "MONAI + Lightning"]
    for row in rows:
        assert row["minutes_for_1000"] == pytest.approx(row["seconds"] * 1000 / 60)
    assert "NOT reached" in lines[-1]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Checkpoint directory")
def test_usual_form_trains_the_same_network_on_the_same_people(tmp_path):
    data = SMALL.open(SMALL.make_maps(tmp_path), tmp_path)
    usual = usual_form(SMALL, data, tmp_path / "cache", "cpu", "32-true")
    mine, theirs = SMALL.network(usual.input_shape), usual.build_network(usual.input_shape)
    for one, is_fast in ((mine, True), (theirs, False)):
        assert type(one.backbone) is Classifier
        units = [type(module) for module in one.modules()]
        assert (MergedResidualUnit in units) is is_fast
    shapes = [{k: v.shape for k, v in one.state_dict().items()} for one in (mine, theirs)]
    assert shapes[0] == shapes[1]
    folds = SMALL.pipeline(data, Compute()).build_folds(data.cohort)[:1]
    scores = usual.crossvalidate(folds)
    assert scores.shape == (len(folds[0].test),)
    assert np.isfinite(scores).all()


def test_throughput_counts_volumes_waiting_and_operations():
    (row,) = TINY.measure().to_dict("records")
    assert row["volumes_per_second"] > 0
    assert 0 <= row["waiting_share"] < 1
    assert 0 < row["share_of_matrix_product"] < 1
    assert [goal.what for goal in TINY.goals(TINY.measure())] == ["share of time waiting for data"]
