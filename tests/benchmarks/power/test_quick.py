"""The configuration that CI runs, cut down further."""

from pathlib import Path

from benchmarks.suite import run_suite
from fmnet.config.check import check_config
from fmnet.config.entry import build

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BASELINES = ("linear_svm", "logistic_ridge", "shrinkage_lda")


def test_quick_race_runs_from_its_configuration(tmp_path):
    changes = ["suite.n_draws=1", "suite.regimes=[two_contrasts]", f"out={tmp_path}"]
    config = check_config(CONFIGS, "benchmark", ["suite=power_quick", *changes], run_suite)
    assert config.suite.contenders.plain.max_epochs == 2
    lines = run_suite(**build(config))
    assert lines[-1] == str(tmp_path)
    (head, row) = lines[3:5]
    assert head.split() == ["oracle", *BASELINES, "recipe", "plain"]
    oracle, *others = map(float, row.split()[1:])
    assert oracle > 0.6
    assert all(0 <= auc <= 1 for auc in others)


def test_full_race_asks_for_the_penalties_of_a_tuned_baseline():
    config = check_config(CONFIGS, "benchmark", ["suite=power", "out=there"], run_suite)
    assert list(config.suite.baselines.linear_svm.c) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert config.suite.baselines.logistic_ridge.c == config.suite.baselines.linear_svm.c


def test_contenders_are_the_recipe_its_ablations_and_plain_networks():
    config = check_config(CONFIGS, "benchmark", ["suite=power", "out=there"], run_suite)
    contenders = dict(config.suite.contenders)
    plain = [contenders.pop(name) for name in ("plain", "resnet")]
    assert all(one.preparation.fwhm_mm == 8 and "max_epochs" not in one for one in plain)
    assert all(one.preparation.fwhm_mm == 0 for one in contenders.values())
    recipe = contenders.pop("recipe")
    assert recipe.build_network.paths == [
        "focal",
        "distributed",
        "contrast_products",
        "voxel_pairs",
    ]
    assert all(one != recipe for one in contenders.values())
