"""A study of two networks in the same folds, by configuration, in shards and gone on with."""

import json
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = [
    "experiment=quick", "cohort.n_subjects=16", "cohort.effect_size=6.0",
    "preparation.voxel_size_mm=12", "folds.n_splits=2", "network=scale_space",
    "models=[scale_space,small_cnn]",
    "models.small_cnn.network.channels=[2,4]", "models.small_cnn.max_epochs=2", "baselines=linear",
    "baselines.linear_svm.fwhm_mm=[12.0]", "baselines.linear_svm.c=[0.1]",
    "~baselines.shrinkage_lda", "logger=csv", "callbacks=early_stopping", "signature=null",
]  # fmt: skip


def run(root, *more):
    lines = [*SMALL, f"run_dir={root / 'run'}", f"store_dir={root / 'store'}", *more]
    lines.append(f"cohort.root={root / 'cohorts'}")
    config = check_config(CONFIGS, "train", lines, run_study, False)
    return run_study(**build(config), config_yaml=OmegaConf.to_yaml(config, resolve=True))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a run, whose folds were trained in two shards."""
    root = tmp_path_factory.mktemp("several")
    for index in range(2):
        run(root, f"shard.index={index}", "shard.n=2")
    (root / "said.txt").write_text("\n".join(run(root)))
    return root


def read_metrics(root):
    return json.loads((root / "run" / "metrics.json").read_text())


def test_every_network_scores_every_scan(root):
    table = pd.read_csv(root / "run" / "predictions.tsv", sep="\t")
    assert table.groupby("model", sort=False)["scan_id"].nunique().to_dict() == {
        "network": 16, "small_cnn": 16, "dummy": 16, "linear_svm": 16,
    }  # fmt: skip
    assert table["probability"].notna().all()
    metrics = read_metrics(root)
    assert metrics["kinds"] == {
        "network": "closed form", "small_cnn": "gradient", "dummy": "chance",
        "linear_svm": "linear",
    }  # fmt: skip
    assert len(metrics["further"]["small_cnn"]["n_epochs"]) == 2
    assert "2 of 2 folds were done before, by shards" in (root / "said.txt").read_text()


def test_each_network_has_its_verdict_on_terminal_and_page(root):
    said = (root / "said.txt").read_text()
    verdict = read_metrics(root)["further"]["small_cnn"]["verdict"]
    assert verdict.startswith("Small CNN: AUC ")
    assert "(permutation.models=[small_cnn] permutation.n=100 would)" in verdict
    assert "On these folds the small CNN" in verdict
    assert " ".join(said.split()).count(" ".join(verdict.split())) == 1
    assert "models.scale_space is the study's own network" in said
    page = " ".join((root / "run" / "report.html").read_text().split())
    assert '<p class="further">Small CNN: AUC ' in page
    assert "The small CNN read maps smoothed by 8 mm and was trained with AdamW" in page


def test_logs_are_of_trainings_of_their_own(root):
    logs = {path.name for path in (root / "run" / "logs" / "csv").iterdir()}
    assert "small_cnn_repeat-0_fold-1_inner-0" in logs


def test_run_is_gone_on_with_permutations_of_the_further_network(root):
    before = pd.read_csv(root / "run" / "predictions.tsv", sep="\t")
    run(root, "resume=true", "permutation.n=2", "permutation.models=[small_cnn]")
    pd.testing.assert_frame_equal(before, pd.read_csv(root / "run" / "predictions.tsv", sep="\t"))
    metrics = read_metrics(root)
    assert set(metrics["permutation"]["models"]) == {"network", "small_cnn", "linear_svm"}
    assert metrics["further"]["small_cnn"]["conclusions"][0]["kind"] == "too few permutations"
    verdict = metrics["further"]["small_cnn"]["verdict"]
    assert verdict.startswith("Small CNN, as if it alone had been planned: AUC ")
