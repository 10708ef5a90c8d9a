from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.labelled import LabelledBenchmark, compare, tabulate
from benchmarks.power.contender import Contender
from benchmarks.power.summary import DEFAULT
from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import build_small_cnn


@pytest.fixture
def suite(tmp_path, write_map, grid):
    """Ten people with a map of either task, which a strip of the brain tells apart."""
    rng = np.random.default_rng(11)
    rows = ["participant_id\ttask\tpath"]
    for number in range(10):
        for task in ("rest", "work"):
            values = rng.normal(size=grid.n_voxels).astype(np.float32)
            values[:20] += 4 * (task == "work")
            name = f"{number}_{task}.nii.gz"
            write_map(tmp_path / name, grid.unmask(values))
            rows.append(f"sub-{number:02d}\t{task}\t{name}")
    (tmp_path / "images.tsv").write_text("\n".join(rows) + "\n")
    network = Contender(
        partial(build_small_cnn, channels=(2, 4)), 1, preparation=PreparationSettings(12)
    )
    return LabelledBenchmark(
        {DEFAULT: network},
        {"linear_svm": LinearSvm((0.0,), (1.0,)), "dummy": Dummy()},
        tmp_path / "images.tsv",
        label="task",
        positive="work",
        voxel_size_mm=12,
        n_repeats=2,
    )


def test_all_models_score_the_same_people_of_the_same_folds(suite, tmp_path):
    lines = suite.run(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    places = table.groupby("model", sort=False)[["repeat", "fold", "scan_id"]].agg(list)
    assert list(places.index) == ["linear_svm", "dummy", DEFAULT]
    assert all(list(row) == list(places.iloc[0]) for _, row in places.iterrows())
    assert len(table) == 3 * 2 * 20
    models = pd.read_csv(tmp_path / "out" / "models.tsv", sep="\t").set_index("model")
    assert models.at["linear_svm", "auc"] > 0.9
    assert models.at["dummy", "auc"] == 0.5
    assert "not reached" in lines[-1].lower()
    assert lines[-1].startswith("AUC of default less that of linear_svm: -")


def test_linear_baselines_can_race_alone(suite, tmp_path):
    lines = replace(suite, only=["linear"]).run(tmp_path / "out")
    models = pd.read_csv(tmp_path / "out" / "models.tsv", sep="\t")
    assert list(models["model"]) == ["linear_svm"]
    assert not (tmp_path / "out" / "differences.tsv").exists()
    assert not any("wanted" in line for line in lines)


def test_differences_have_the_sign_of_the_network():
    models = {name: {"auc": auc, "auc_ci": [0, 1]} for name, auc in (("svm", 0.7), ("net", 0.9))}
    row = {"one": "svm", "other": "net", "difference": -0.2, "ci": [-0.3, -0.1], "p": 0.01}
    metrics = {"models": models, "comparisons": [row]}
    (found,) = compare(metrics, ["svm"]).to_dict("records")
    assert (found["model"], found["rival"], found["is_best_linear"]) == ("net", "svm", True)
    assert (found["difference"], found["low"], found["high"]) == (0.2, 0.1, 0.3)
    assert list(tabulate(metrics)["model"]) == ["svm", "net"]


def test_wrong_names_are_all_told(suite):
    with pytest.raises(ConfigError, match=r"(?s)2 faults.*found 'lined'.*suite\.baselines"):
        replace(suite, only=["lined"], baselines={"dummy": Dummy()})
