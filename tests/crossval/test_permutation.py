import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from cohort_fixtures import cohort_of_rows
from hypothesis import given
from hypothesis import strategies as st
from run_fixtures import study_settings

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.crossval.fold_loop import Pipeline, score_folds
from fmnet.crossval.permutation import (
    PermutationPlan,
    _permuted,
    check_exchangeable,
    count_permutations,
    permute_labels,
    run_permutations,
)
from fmnet.crossval.reruns import SensitivityPlan
from fmnet.data.folds import Fold
from fmnet.errors import CohortError, RunError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.study import run_study
from fmnet.training.compute import Compute
from fmnet.training.fit import Trainable, fit_networks


def test_every_linear_model_that_can_be_exported_is_permuted():
    svm, ridge, dummy = LinearSvm(), LogisticRidge(), Dummy()
    pipeline = Pipeline(Quiet(), {"svm": svm, "dummy": dummy, "ridge": ridge}, None, 0)
    assert list(_permuted(pipeline, PermutationPlan(1))) == ["svm", "ridge"]
    assert list(_permuted(pipeline, PermutationPlan(1, models=["dummy"]))) == [
        "svm", "dummy", "ridge",
    ]  # fmt: skip


def test_permutations_of_fewer_models_are_not_taken_for_those_of_all(build_study, tmp_path):
    earlier = tmp_path / "repeats-1_network_linear_svm"
    earlier.mkdir()
    (earlier / "00000.json").write_text('{"network": 0.25, "linear_svm": 0.75}')
    svm = {"linear_svm": LinearSvm()}
    now = Pipeline(Quiet(), svm | {"shrinkage_lda": ShrinkageLda()}, None, 0)
    assert count_permutations(Pipeline(Quiet(), svm, None, 0), PermutationPlan(1), tmp_path) == 1
    assert count_permutations(now, PermutationPlan(1), tmp_path) == 0


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


def test_permutations_of_an_earlier_run_are_taken_over(build_study, tmp_path):
    earlier = tmp_path / "repeats-1_cnn"
    earlier.mkdir()
    (earlier / "00000.json").write_text('{"cnn": 0.25}')
    pipeline = Pipeline(Quiet(), {}, None, 0)
    assert count_permutations(pipeline, PermutationPlan(1), tmp_path) == 1
    no_folds = [Fold(0, 0, (), (), ((), ()))]
    pipeline = replace(pipeline, build_folds=lambda _: no_folds)
    null = run_permutations(pipeline, build_study(), PermutationPlan(1), tmp_path)
    assert null.to_dict("records") == [{"network": 0.25}]


@pytest.fixture(scope="module")
def permuted(study_root):
    """A study with three permutations, of which the last two ran in two processes."""
    run_dir = study_root / "permuted"
    settings = study_settings(study_root, run_dir, permutation=PermutationPlan(1))
    run_study(**settings)
    again = {"resume": True, "permutation": PermutationPlan(3), "compute": Compute(n_jobs=2)}
    before = (run_dir / "predictions.tsv").stat().st_mtime_ns
    run_study(**settings | again)
    assert (run_dir / "predictions.tsv").stat().st_mtime_ns == before
    return run_dir


@pytest.mark.slow
def test_resumed_permutations_are_those_of_an_undisturbed_run(permuted, study_root):
    once = study_root / "permuted-once"
    run_study(**study_settings(study_root, once, permutation=PermutationPlan(3)))
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
    run_study(**study_settings(study_root, permuted, resume=True, sensitivity=plan))
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
    run_study(**study_settings(study_root, run_dir, shuffle_labels=True))
    models = json.loads((run_dir / "metrics.json").read_text())["models"]
    assert models["linear_svm"]["auc"] < 0.8


def labels_of(cohort) -> list[str]:
    return [scan.label for scan in cohort.scans]


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["FM", "HC"])), min_size=2),
    st.integers(0, 99),
)
def test_each_site_keeps_its_numbers(people, seed):
    rows = [(f"sub-{number}", site, label) for number, (site, label) in enumerate(people)]
    cohort = cohort_of_rows(rows)
    shuffled = permute_labels(cohort, np.random.default_rng(seed))
    before = Counter(zip([row[1] for row in rows], labels_of(cohort), strict=True))
    after = Counter(zip([row[1] for row in rows], labels_of(shuffled), strict=True))
    assert before == after


def test_scans_of_a_person_move_together():
    rows = [(f"sub-{k // 2}", "", "FM" if k < 10 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(1)))
    assert shuffled[::2] == shuffled[1::2]
    assert shuffled != [row[2] for row in rows]


def test_people_with_both_classes_keep_one_scan_of_each():
    rows = [(f"sub-{k // 2}", "", "FM" if k % 2 else "HC") for k in range(20)]
    shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(1)))
    assert all(set(shuffled[k : k + 2]) == {"FM", "HC"} for k in range(0, 20, 2))
    assert shuffled != [row[2] for row in rows]


def test_families_keep_together_what_they_share():
    """Pairs of one class stay pairs of one class; pairs of both stay pairs of both."""
    labels = ["FM", "FM", "HC", "HC"] * 3 + ["FM", "HC"] * 3
    rows = [(f"sub-{k:02}", "", label) for k, label in enumerate(labels)]
    rows += [(f"sub-{k}", "", "FM" if k % 2 else "HC") for k in range(90, 96)]
    families = {f"sub-{k:02}": str(k // 2) for k in range(18)}
    cohort = cohort_of_rows(rows, families)
    seen = set()
    for seed in range(20):
        shuffled = labels_of(permute_labels(cohort, np.random.default_rng(seed)))
        pairs = Counter(tuple(sorted(shuffled[k : k + 2])) for k in range(0, 18, 2))
        assert pairs == {("FM", "FM"): 3, ("HC", "HC"): 3, ("FM", "HC"): 3}
        assert Counter(shuffled[18:]) == {"FM": 3, "HC": 3}
        seen.add(tuple(shuffled))
    assert len(seen) > 15


def test_one_person_with_both_classes_holds_up_nobody_else():
    rows = [(f"sub-{k}", "", "FM" if k % 2 else "HC") for k in range(20)]
    rows += [("sub-x", "", "FM"), ("sub-x", "", "HC")]
    orders = set()
    for seed in range(30):
        shuffled = labels_of(permute_labels(cohort_of_rows(rows), np.random.default_rng(seed)))
        assert set(shuffled[20:]) == {"FM", "HC"}
        orders.add(tuple(shuffled))
    assert len(orders) > 25


def test_labels_that_can_hardly_be_exchanged_are_refused():
    rows = [(f"sub-{k}", f"site-{k // 2}", "FM" if k % 2 else "HC") for k in range(4)]
    rows += [(f"sub-{k}", "site-pure", "FM") for k in range(10, 20)]
    with pytest.raises(CohortError, match="exchanged in 4 ways only"):
        check_exchangeable(cohort_of_rows(rows), 0)


def test_all_orders_are_equally_likely():
    cohort = cohort_of_rows([("sub-0", "", "FM"), ("sub-1", "", "HC"), ("sub-2", "", "HC")])
    rng = np.random.default_rng(0)
    counts = Counter(labels_of(permute_labels(cohort, rng)).index("FM") for _ in range(900))
    assert all(count == pytest.approx(300, abs=60) for count in counts.values())


def test_permuting_changes_nothing_but_labels():
    cohort = cohort_of_rows([("sub-0", "", "FM"), ("sub-1", "", "HC")])
    shuffled = permute_labels(cohort, np.random.default_rng(0))
    back = [replace(scan, label="") for scan in shuffled.scans]
    assert back == [replace(scan, label="") for scan in cohort.scans]
