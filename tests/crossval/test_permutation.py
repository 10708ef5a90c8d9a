import json
from dataclasses import dataclass, replace
from functools import partial
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from run_fixtures import run_unreported, study_settings

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.crossval.exchange import exchange, find_cells
from fmnet.crossval.fold_loop import Pipeline, score_folds
from fmnet.crossval.permutation import (
    PERMUTATION,
    PermutationPlan,
    count_earlier,
    count_permutations,
    permuted_models,
    run_permutations,
    run_permutations_together,
)
from fmnet.crossval.reruns import SensitivityPlan
from fmnet.data.cohort import relabel
from fmnet.data.folds import build_folds
from fmnet.errors import RunError
from fmnet.evaluation.comparison import study_aucs
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.runs.run_folder import write_sealed
from fmnet.studies.study import run_study
from fmnet.training.compute import Compute
from fmnet.training.fit import Trainable, fit_networks


def test_every_linear_model_that_can_be_exported_ispermuted_models():
    svm, ridge, dummy = LinearSvm(), LogisticRidge(), Dummy()
    pipeline = Pipeline(Quiet(), {"svm": svm, "dummy": dummy, "ridge": ridge}, None, 0)
    assert list(permuted_models(pipeline, PermutationPlan(1))) == ["svm", "ridge"]
    assert list(permuted_models(pipeline, PermutationPlan(1, models=["dummy"]))) == [
        "svm", "dummy", "ridge",
    ]  # fmt: skip


def test_permutations_of_fewer_models_or_of_another_scheme_are_not_taken_for_those_of_all(tmp_path):
    for name in ("repeats-1_network_linear_svm", "exchanged_repeats-1_network_linear_svm"):
        (tmp_path / name).mkdir()
        write_sealed({"network": 0.25, "linear_svm": 0.75}, tmp_path / name / "00000.json")
        svm = {"linear_svm": LinearSvm()}
        pipeline, plan = Pipeline(Quiet(), svm, None, 0), PermutationPlan(1)
        n_found = int(name.startswith("exchanged"))
        assert count_permutations(pipeline, plan, tmp_path) == n_found
    now = replace(pipeline, baselines=svm | {"shrinkage_lda": ShrinkageLda()})
    assert count_permutations(now, plan, tmp_path) == 0
    assert count_earlier(tmp_path) == 1


def test_inner_folds_that_nothing_is_chosen_on_change_no_score(build_study, fold):
    """A closed form and a baseline: neither their scores nor what is chosen depends on them."""
    trainable = Trainable(build_scale_space, max_epochs=0)
    baselines = {"svm": LinearSvm((0.0,), (0.1, 1.0))}
    data = build_study()
    tables = []
    for is_calibrated in (True, False):
        pipeline = Pipeline(trainable, baselines, None, 0, is_calibrated=is_calibrated)
        with patch("fmnet.training.fit.fit_networks", wraps=fit_networks) as fitting:
            (scored,) = score_folds(pipeline, [(data, fold)])
        tables.append(scored.rows)
        assert sum(len(call.args[1]) for call in fitting.call_args_list) == 1 + 2 * is_calibrated
    assert (tables[0]["score"] == tables[1]["score"]).all()
    assert tables[0]["probability"].notna().all()
    assert tables[1]["probability"].isna().all()


def test_epochs_are_chosen_on_inner_folds_in_permutations_as_well(build_study, fold):
    trainable = Trainable(partial(build_small_cnn, channels=[2]), max_epochs=2)
    tables = [
        score_folds(
            Pipeline(trainable, {}, None, 0, is_calibrated=is_calibrated), [(build_study(), fold)]
        )[0]
        for is_calibrated in (True, False)
    ]
    assert tables[0].n_epochs == tables[1].n_epochs
    assert (tables[0].rows["score"] == tables[1].rows["score"]).all()


@dataclass(frozen=True)
class Quiet:
    n_stacked: int = 1

    def quiet(self):
        return self


BASELINES = {
    "svm": LinearSvm((0.0, 8.0), (0.1, 1.0)),
    "ridge": LogisticRidge((0.0, 8.0), (0.1, 1.0)),
    "lda": ShrinkageLda((0.0, 8.0), (0.05, 1.0)),
}


@pytest.mark.parametrize(
    ("build_network", "epochs"),
    [(build_scale_space, 0), (partial(build_small_cnn, channels=[2]), 1)],
)
def test_permutations_are_those_of_one_at_a_time(build_network, epochs, build_study):
    """Whatever is shared: each gives what a study of those labels in those folds would."""
    data = build_study()
    trainable = Trainable(build_network, max_epochs=epochs)
    build = partial(build_folds, n_splits=3, n_repeats=1, inner_splits=2)
    pipeline = Pipeline(trainable, {} if epochs else BASELINES, build, 0)
    folds = build(data.cohort)
    cells = find_cells(data.cohort, folds, 0)
    assert cells is not None
    found = run_permutations_together((pipeline, data, 1), [4, 7])
    quiet = replace(pipeline, is_calibrated=False)
    for index, aucs in zip([4, 7], found, strict=True):
        rng = np.random.default_rng([0, PERMUTATION, index + 1])
        labels = exchange(data.cohort, rng, cells).labels
        relabelled = data.relabel(relabel(data.cohort, labels))
        scored = score_folds(quiet, [(relabelled, fold) for fold in folds])
        assert aucs == pytest.approx(study_aucs(pd.concat([one.rows for one in scored]), 1))
    assert found[0] != found[1]


@pytest.mark.parametrize(("stop_after", "n_run"), [(0, 100), (3, 60), (40, 100)])
def test_permutations_end_once_enough_have_reached_every_model(
    stop_after, n_run, build_study, tmp_path
):
    """Of ten, one reaches the network, one the SVM and two the larger of the two."""
    build = partial(build_folds, n_splits=3, n_repeats=1, inner_splits=2)
    pipeline = Pipeline(Trainable(build_scale_space, max_epochs=0), {"svm": LinearSvm()}, build, 0)
    data, plan = build_study(), PermutationPlan(100, stop_after=stop_after)
    asked = []

    def run(_, indices):
        asked.extend(indices)
        return [{"network": float(k % 10 == 3), "svm": 0.1 + 0.8 * (k % 10 == 5)} for k in indices]

    observed = {"network": 0.9, "svm": 0.9, "other": 0.2}
    with patch("fmnet.crossval.permutation.run_permutations_together", run):
        null = run_permutations(pipeline, data, plan, tmp_path, observed=observed)
        again = run_permutations(pipeline, data, plan, tmp_path, observed=observed)
    assert asked == list(range(n_run))  # nothing twice, and nothing left out
    assert len(null) == n_run
    pd.testing.assert_frame_equal(null, again)


@pytest.fixture(scope="module")
def permuted(study_root):
    """A study with three permutations, of which the last two ran in two processes."""
    run_dir = study_root / "permuted"
    settings = study_settings(study_root, run_dir, permutation=PermutationPlan(1))
    run_unreported(**settings)
    again = {"resume": True, "permutation": PermutationPlan(3), "compute": Compute(n_jobs=2)}
    before = (run_dir / "predictions.tsv").stat().st_mtime_ns
    run_study(**settings | again)
    assert (run_dir / "predictions.tsv").stat().st_mtime_ns == before
    return run_dir


@pytest.mark.slow
def test_resumed_permutations_are_those_of_an_undisturbed_run(permuted, study_root):
    once = study_root / "permuted-once"
    run_unreported(**study_settings(study_root, once, permutation=PermutationPlan(3)))
    one, other = (
        json.loads((folder / "metrics.json").read_text())["permutation"]["models"]
        for folder in (permuted, once)
    )
    assert set(one) == {"network", "linear_svm"}
    for name, model in one.items():
        assert len(model["null"]) == 3
        assert model["null"] == pytest.approx(other[name]["null"], abs=0.02)


@pytest.mark.slow
def test_what_was_found_before_stays_when_something_else_is_asked_for(permuted, study_root):
    plan = SensitivityPlan(match=["mean_framewise_displacement"], models=["linear_svm"])
    run_unreported(**study_settings(study_root, permuted, resume=True, sensitivity=plan))
    metrics = json.loads((permuted / "metrics.json").read_text())
    assert metrics["permutation"]["n"] == 3
    assert list(metrics["sensitivity"]) == ["matched_mean_framewise_displacement"]
    manifest = json.loads((permuted / "manifest.json").read_text())
    assert len(manifest["resumed"]) == 2


@pytest.mark.slow
def test_other_settings_are_not_gone_on_with(permuted, study_root):
    changed = study_settings(study_root, permuted, resume=True, config_yaml="seed: 1\n")
    with pytest.raises(RunError, match="other settings for seed"):
        run_study(**changed)


@pytest.mark.slow
def test_shuffled_labels_are_studied_as_a_control(study_root):
    run_dir = study_root / "shuffled"
    run_unreported(**study_settings(study_root, run_dir, shuffle_labels=True))
    models = json.loads((run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] < 0.8
