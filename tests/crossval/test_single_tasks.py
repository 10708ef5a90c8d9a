"""Three groups of small maps without files: two pains that share a pattern, and controls."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from fmnet.baselines.outcomes import VoxelRidge
from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.crossval.sessions import study_sessions
from fmnet.crossval.single_tasks import run_single_tasks, study_tasks
from fmnet.data.cohort import Cohort
from fmnet.data.folds import build_folds
from fmnet.data.grid import Grid
from fmnet.data.listing import NO_LABELS, Listing
from fmnet.data.outcomes import Outcomes
from fmnet.data.scans import Scan, StoredScan
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.closed_form import build_scale_space
from fmnet.targets.change import Change
from fmnet.targets.contrast import Contrast
from fmnet.targets.several import Several
from fmnet.targets.severity import Severity
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import MapScans

SHAPE = (7, 8, 9)


def build_scans(target, texts, images) -> MapScans:
    target, held, _ = target.read(texts)
    people = tuple(texts["participant_id"])
    outcomes = Outcomes(held, people, people, ("",) * len(people))
    strata = target.strata(outcomes)
    scans = tuple(
        Scan(
            texts["scan_id"][row],
            people[row],
            (),
            "MNI152",
            outcome=tuple((role, float(own[row])) for role, own in held.items()),
            stratum=strata[row],
        )
        for row in range(len(people))
    )
    mask = np.ones(SHAPE, bool)
    mask[0, 0, 0] = False
    grid = Grid(mask, np.diag([12.0, 12.0, 12.0, 1.0]), "MNI152")
    table = texts[["participant_id"]].drop_duplicates()
    listing = Listing(scans, ("a",), "z", table, NO_LABELS)
    cohort = Cohort(scans, (StoredScan(None, (), (), ("g",)),) * len(scans), listing, grid)
    values = images[:, None, mask].astype(np.float32)
    return MapScans(cohort, values, PreparationSettings(fwhm_mm=0.0), target=target)


def build_pains(n=10) -> MapScans:
    rng = np.random.default_rng(0)
    group = np.repeat(["FM", "OA", "HC"], n)
    images = rng.normal(size=(3 * n, *SHAPE))
    images[: 2 * n, 1:5, 1:5, 1:5] += 1.0
    names = [f"sub-{row:02}" for row in range(3 * n)]
    texts = pd.DataFrame({"participant_id": names, "scan_id": names, "group": group})
    target = Several(targets={"fm": Contrast("FM", "HC"), "oa": Contrast("OA", "HC")})
    return build_scans(target, texts, images)


def build_pipeline(target) -> Pipeline:
    build = partial(build_scale_space, paths=["focal"], head=target.head())
    return Pipeline(Trainable(build, max_epochs=0), {}, lambda _: [], 0)


@pytest.fixture(scope="module")
def studied():
    data = build_pains()
    folds = build_folds(data.cohort, 2, 1, 2, 0)
    return data, build_pipeline(data.target), folds


def test_tasks_are_learned_alone_from_their_own_people_and_tested_on_all(studied):
    data, pipeline, folds = studied
    found = run_single_tasks(pipeline, data, folds)
    assert list(found) == ["fm", "oa"]
    fm = found["fm"]
    assert sorted(fm["participant_id"]) == sorted(data.participant_ids)
    assert fm["outcome_group"].isna().sum() == 10
    # other maps of those with the other pain change nothing of what is learned
    values = data.values.copy()
    values[10:20] *= -3
    again = run_single_tasks(pipeline, replace(data, values=values), folds)["fm"]
    known = fm["outcome_group"].notna()
    np.testing.assert_allclose(again["score"][known], fm["score"][known], rtol=1e-4, atol=1e-5)
    assert not np.allclose(again["score"][~known], fm["score"][~known])


def test_what_is_shared_is_found(studied):
    data, pipeline, folds = studied
    table, _ = crossvalidate(pipeline, data, folds)
    found = study_tasks(pipeline, data, folds, table, n_bootstrap=20)
    assert [row["task"] for row in found["gains"]] == ["fm", "oa"]
    assert all(abs(row["gain"]) < 0.2 for row in found["gains"])
    (pair,) = found["transfer"]["pairs"]
    assert pair["answer"] == "both ways"


def test_folds_without_enough_people_of_a_task_are_refused(studied):
    data, pipeline, folds = studied
    fold = folds[0]
    few = tuple(one for one in fold.train if one < "sub-10" or one > "sub-19")
    inner = tuple(tuple(one for one in part if one in few) for part in fold.validation)
    with pytest.raises(ConfigError, match="oa, repeat 0, fold 0: found 0 of 'OA'"):
        run_single_tasks(pipeline, data, [replace(fold, train=few, validation=inner)])


def build_sessions(target, change=0.0, n=12) -> MapScans:
    rng = np.random.default_rng(1)
    number = np.repeat(np.arange(n), 2)
    session = np.tile(["before", "after"], n)
    images = 2 * rng.normal(size=(n, *SHAPE))[number] + rng.normal(size=(2 * n, *SHAPE))
    pain = rng.normal(50, 10, n)[number]
    images[:, 1:5, 1:5, 1:5] += 0.1 * (pain[:, None, None, None] - 50)
    images[session == "after", 1:5, 1:5, 1:5] += change
    people = [f"sub-{one:02}" for one in number]
    scans = [f"{one}_ses-{name}" for one, name in zip(people, session, strict=True)]
    texts = pd.DataFrame({"participant_id": people, "scan_id": scans, "pain": pain.round(1)})
    return build_scans(target, texts.astype(str), images)


def test_people_are_taken_out_where_change_is_studied():
    data = build_sessions(Change(), change=1.0)
    rows = np.arange(16)
    fitted = data.fit(rows)
    people = np.array(data.participant_ids)
    means = np.stack([fitted.values[people == one].mean(axis=0) for one in sorted(set(people))])
    np.testing.assert_allclose(means, 0, atol=1e-5)
    features = data.features(rows, 0.0)
    np.testing.assert_allclose(features[::2] + features[1::2], 0, atol=1e-4)
    assert features.std() > 0.5
    folds = build_folds(data.cohort, 2, 1, 2, 0)
    table, _ = crossvalidate(build_pipeline(data.target), data, folds)
    assert data.target.figures(table)["paired_accuracy"] > 0.8
    # without a level of their own people can't be told from each other
    assert study_sessions(data, table, {}, 0) == {}


def test_sessions_are_compared_by_score_weights_and_maps():
    data = build_sessions(Severity(column="pain"))
    folds = build_folds(data.cohort, 2, 1, 2, 0)
    pipeline = build_pipeline(data.target)
    ridge = VoxelRidge(fwhm_mm=[0.0], penalty=[10.0])
    pipeline = replace(pipeline, baselines={"ridge": ridge})
    table, _ = crossvalidate(pipeline, data, folds)
    found = study_sessions(data, table, pipeline.baselines, 0)
    assert found["scores"]["network"]["n_people"] == 12
    assert found["scores"]["network"]["agreement"]["value"] > 0.7
    assert 0.3 < found["weights"]["ridge"]["correlation"] < 1
    # 4 between people for 1 within them
    assert found["maps"]["a"]["median"] == pytest.approx(0.8, abs=0.07)
    once = data.subset(tuple(sorted(set(data.participant_ids))[:4]))
    assert study_sessions(once, table, {}, 0) == {}
