"""The configuration that CI runs, cut down further."""

from pathlib import Path

import pytest

from benchmarks.power.regimes import AMPLITUDES, NAMES
from benchmarks.suite import run_suite
from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.errors import ConfigError
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BASELINES = ("linear_svm", "unsmoothed_svm", "logistic_ridge", "shrinkage_lda")


def test_quick_race_runs_from_its_configuration(tmp_path):
    changes = ["suite.n_draws=1", "suite.regimes=[two_contrasts]", f"out={tmp_path}"]
    config = check_config(CONFIGS, "benchmark", ["suite=power_quick", *changes], run_suite)
    assert config.suite.contenders.plain.max_epochs == 2
    lines = run_suite(**build(config))
    assert lines[-1] == str(tmp_path)
    (head, row) = lines[1:3]
    assert head.split() == ["oracle", *BASELINES, "default", "plain"]
    oracle, *others = map(float, row.split()[1:])
    assert oracle > 0.6
    assert all(0 <= auc <= 1 for auc in others)


def test_full_race_asks_for_the_penalties_of_a_tuned_baseline():
    config = check_config(CONFIGS, "benchmark", ["suite=power", "out=there"], run_suite)
    assert list(config.suite.baselines.linear_svm.c) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert config.suite.baselines.logistic_ridge.c == config.suite.baselines.linear_svm.c


@pytest.mark.parametrize("suite", ["power", "langloc"])
def test_default_is_the_network_of_a_study(suite):
    changes = [f"suite={suite}", "out=there", "suite.images=images.tsv"]
    config = check_config(CONFIGS, "benchmark", changes, run_suite)
    study = check_config(CONFIGS, "train", [], run_study, passed=("config_yaml",))
    assert config.suite.contenders.default.build_network == study.network
    assert config.suite.contenders.default.preparation == study.preparation
    closed = check_config(
        CONFIGS, "train", ["network=scale_space"], run_study, passed=("config_yaml",)
    )
    assert config.suite.contenders.closed_form.build_network == closed.network
    assert list(config.suite.baselines) == list(BASELINES)
    assert config.suite.baselines.unsmoothed_svm.fwhm_mm == [0.0]


def test_amplitudes_are_those_of_the_regimes():
    config = check_config(CONFIGS, "benchmark", ["suite=power", "out=there"], run_suite)
    assert dict(config.suite.amplitudes) == AMPLITUDES
    assert set(config.suite.regimes) == set(NAMES)
    assert list(config.suite.n) == [40, 70, 140]


def test_radius_may_be_one_or_several():
    for given in ("5", "[5,9,15]"):
        changes = ["suite=power", "out=there", f"suite.radius_mm={given}"]
        check_config(CONFIGS, "benchmark", changes, run_suite)
    with pytest.raises(ConfigError, match=r"suite\.radius_mm"):
        check_config(CONFIGS, "benchmark", ["suite=power", "suite.radius_mm=[0]"], run_suite)


def test_contender_of_before_is_read_or_said():
    changes = ["suite=power", "suite.contenders.recipe.build_network.power=2.0"]
    with pytest.raises(ConfigError, match=r"write suite\.contenders\.closed_form"):
        check_config(CONFIGS, "benchmark", changes, run_suite)


def test_contenders_are_the_default_its_parts_ablations_and_plain_networks():
    config = check_config(CONFIGS, "benchmark", ["suite=power", "out=there"], run_suite)
    contenders = dict(config.suite.contenders)
    plain = [contenders.pop(name) for name in ("plain", "resnet")]
    assert all(one.preparation.fwhm_mm == 8 and "max_epochs" not in one for one in plain)
    assert all(one.preparation.fwhm_mm == 0 for one in contenders.values())
    assert "default" in contenders
    contenders.pop("default")
    recipe = contenders.pop("closed_form")
    assert recipe.build_network.paths == [
        "focal",
        "distributed",
        "contrast_products",
        "voxel_pairs",
    ]
    assert all(one != recipe for one in contenders.values())
