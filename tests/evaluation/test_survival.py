import numpy as np
import pytest
from survival_fixtures import draw_people

from fmnet.evaluation.survival import (
    FollowUp,
    censored_after,
    integrated,
    kaplan_meier,
    median_follow_up,
    remaining,
)

AT, TAU = np.array([1.0, 2.0, 3.0, 4.0]), 5.0


def together(time, event):
    return FollowUp(time, event, np.zeros(len(time), int))


def flags(*values):
    return np.array(values, dtype=bool)


@pytest.fixture(scope="module")
def oracle():
    """Another package's figures of the same people; it is for tests only."""
    return pytest.importorskip("sksurv.metrics")


@pytest.mark.parametrize("seed", range(20))
def test_figures_agree_with_another_package(oracle, seed):
    from sksurv.util import Surv

    covariates, time, event = draw_people(seed, is_tied=seed % 2 == 1)
    noise = np.random.default_rng(seed).normal(size=len(time))
    score = np.round(covariates[:, 0] + 0.3 * noise, 1)  # with ties
    risk = 1 - np.exp(-0.2 * AT * np.exp(score)[:, None])
    follow, people = together(time, event), Surv.from_arrays(event, time)
    higher = follow.higher(score)
    ours = follow.concordance(higher, follow.uno_weights(TAU))
    assert ours == pytest.approx(oracle.concordance_index_ipcw(people, people, score, TAU)[0])
    ours = follow.concordance(higher, np.ones(len(time)))
    assert ours == pytest.approx(oracle.concordance_index_censored(event, time, score)[0])
    theirs = oracle.cumulative_dynamic_auc(people, people, score, AT)[0]
    np.testing.assert_allclose(follow.aucs(higher, AT), theirs)
    briers = follow.briers(risk, AT)
    np.testing.assert_allclose(briers, oracle.brier_score(people, people, 1 - risk, AT)[1])
    theirs = oracle.integrated_brier_score(people, people, 1 - risk, AT)
    assert integrated(briers, AT) == pytest.approx(theirs)


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_cox_agrees_with_another_package(oracle, penalty, is_tied):
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    covariates, time, event = draw_people(3, is_tied=is_tied)
    model = CoxPHSurvivalAnalysis(alpha=penalty, ties="efron", tol=1e-12, n_iter=200)
    theirs = model.fit(covariates, Surv.from_arrays(event, time)).coef_
    np.testing.assert_allclose(together(time, event).fit_cox(covariates, penalty), theirs, 1e-6)


def test_derivatives_are_those_of_the_likelihood():
    covariates, time, event = draw_people(5, n=40, is_tied=True)
    follow, slope = FollowUp(time, event, np.arange(40) % 3), np.array([0.3, -0.2, 0.1])
    _, gradient, information = follow.derivatives(covariates, slope)
    step = 1e-5 * np.eye(3)
    up, down = (
        [follow.derivatives(covariates, slope + sign * one) for one in step] for sign in (1, -1)
    )
    numeric = [(a[0] - b[0]) / 2e-5 for a, b in zip(up, down, strict=True)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5)
    numeric = [(b[1] - a[1]) / 2e-5 for a, b in zip(up, down, strict=True)]
    np.testing.assert_allclose(information, numeric, rtol=1e-5)


def test_folds_have_no_common_scale():
    covariates, time, event = draw_people(2, n=60)
    fold, score = np.arange(60) % 4, covariates[:, 0]
    apart, follow = score + 100 * fold, FollowUp(time, event, fold)
    for own in (follow.uno_weights(TAU), np.ones(60)):
        first, second = (follow.concordance(follow.higher(one), own) for one in (score, apart))
        assert first == second
    np.testing.assert_array_equal(
        follow.aucs(follow.higher(score), AT), follow.aucs(follow.higher(apart), AT)
    )
    assert follow.score_test(score) == pytest.approx(follow.score_test(apart))
    stretched = score * (1 + fold)
    assert follow.score_test(score) == pytest.approx(follow.score_test(stretched))


def test_concordance_counts_pairs_by_hand():
    time, event = np.array([1.0, 2.0, 2.0, 3.0, 4.0]), flags(1, 1, 0, 0, 1)
    follow = together(time, event)
    # pairs: of the first with all others; of the second with those censored at 2 and 3, and last
    higher = follow.higher(np.array([3.0, 1.0, 2.0, 1.0, 0.0]))
    assert follow.concordance(higher, np.ones(5)) == pytest.approx((4 + 0 + 0.5 + 1) / 7)


def test_scores_that_are_alike_tell_nothing():
    _, time, event = draw_people(1)
    follow, alike = together(time, event), np.full(70, 3.0)
    assert follow.concordance(follow.higher(alike), follow.uno_weights(TAU)) == 0.5
    np.testing.assert_allclose(follow.aucs(follow.higher(alike), AT), 0.5)
    assert follow.score_test(alike) == 0
    assert follow.fit_cox(alike[:, None])[0] == 0


def test_nobody_to_compare_gives_no_number():
    follow = together(np.array([1.0, 2.0, 3.0]), flags(0, 0, 0))
    higher = follow.higher(np.arange(3.0))
    assert np.isnan(follow.concordance(higher, np.ones(3)))
    assert np.isnan(follow.aucs(higher, [1.5])).all()


def test_score_test_is_the_log_rank_test_of_two_groups(oracle):
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    covariates, time, event = draw_people(7)
    group = (covariates[:, 0] > 0).astype(float)
    theirs, _ = compare_survival(Surv.from_arrays(event, time), group)
    assert together(time, event).score_test(group) ** 2 == pytest.approx(theirs)


def test_those_seen_at_a_visit_are_without_the_event_then():
    time, event = np.array([1.0, 2.0, 2.0, 2.0]), flags(1, 1, 0, 0)
    follow = together(censored_after(time, event), event)
    assert follow.inverse_remaining.tolist() == [1, 1, 0, 0]
    # both who were last seen at 2 are controls, with the event cases of 2
    assert follow.aucs(follow.higher(np.array([3.0, 2.0, 1.0, 0.0])), [2.0])[0] == 1
    assert follow.briers(event[:, None].astype(float), [2.0])[0] == 0


def test_a_cox_model_that_separates_people_stays_finite():
    time, event = np.arange(1.0, 9.0), np.ones(8, bool)
    slope = together(time, event).fit_cox(-time[:, None])
    assert 1 < slope[0] <= 10 / time.std()


def test_curves_by_hand():
    time, event = np.array([1.0, 1.0, 2.0, 3.0, 3.0]), flags(1, 0, 1, 0, 1)
    np.testing.assert_allclose(
        kaplan_meier(time, event, [0.5, 1.0, 2.5, 9.0]), [1, 4 / 5, 8 / 15, 4 / 15]
    )
    # of those left after the event at 1 one in four is censored
    np.testing.assert_allclose(remaining(time, event, [0.5, 1.0, 2.0, 3.0]), [1, 0.75, 0.75, 0])


def test_median_follow_up_is_as_if_without_events():
    time, event = np.array([1.0, 1.0, 4.0, 6.0, 8.0]), flags(1, 1, 0, 0, 0)
    assert median_follow_up(time, event) == 6
    assert np.isnan(median_follow_up(time, np.ones(5, bool)))


@pytest.mark.parametrize("at", [[2.0], 2.0])
def test_one_time_has_itself_as_the_mean(at):
    assert integrated(np.array([0.2]), at) == 0.2
