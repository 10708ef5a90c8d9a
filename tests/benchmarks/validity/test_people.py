import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.validity.people import (
    FIRST,
    SECOND,
    build_cohort,
    draw_cohort,
    draw_people,
    fit,
    labels_of,
    strength_for,
)
from fmnet.evaluation.metrics import fold_aucs


def test_aucs_of_folds_are_those_of_a_study():
    people = draw_cohort(13, 11, 2, 0.3, (1, 2))
    scores = {"network": people.out_of_fold(), "linear_svm": people.out_of_fold(FIRST)}
    expected = fold_aucs(people.table(scores))
    pd.testing.assert_frame_equal(people.fold_aucs(scores), expected, check_dtype=False)


def test_truth_is_what_endlessly_many_new_people_come_to():
    labels = labels_of(20, 20)
    rng = np.random.default_rng(3)
    model = fit(draw_people(labels, 0.3, rng), labels, SECOND)
    new = labels_of(3000, 3000)
    found = roc_auc_score(new, model.scores(draw_people(new, 0.3, rng)))
    assert model.true_auc(0.3) == pytest.approx(found, abs=0.02)
    assert model.true_auc(0.0) == 0.5


def test_effect_gives_the_auc_asked_for_on_average():
    strength = strength_for(0.8, 16, 16, half=True)
    aucs = [
        model.true_auc(strength)
        for number in range(20)
        for _, model in draw_cohort(20, 20, 1, strength, (9, number)).fits(FIRST)
    ]
    assert np.mean(aucs) == pytest.approx(0.8, abs=0.03)
    assert strength_for(0.5, 16, 16) == 0


def test_everybody_is_scored_once_a_repeat_by_models_that_have_not_seen_them():
    people = draw_cohort(12, 15, 3, 0.2, (4,))
    assert np.isfinite(people.out_of_fold()).all()
    assert people.out_of_fold().shape == (3, 27)
    assert people.first_repeat().out_of_fold().shape == (1, 27)
    assert not any(set(split.train) & set(split.test) for split in people.splits)


def test_people_of_a_table_keep_their_names_and_groups():
    table = pd.DataFrame({"participant_id": ["b", "a", "c"], "age": ["1", "2", "3"]})
    cohort = build_cohort(np.array([0, 1, 0]), table)
    assert cohort.participant_ids == ["b", "a", "c"]
    assert cohort.labels.tolist() == [0, 1, 0]
    assert cohort.covariate("age") == ["1", "2", "3"]
