import numpy as np
import pytest

from fmnet.evaluation.moderation import (
    ScoredTrial,
    effect_by_thirds,
    fit_slopes,
    gain_left,
    ranked_within,
    standardised_within,
)

N = 63


def trial(seed=0, n=N, n_repeats=1, moderates=0.0, foretells=0.0, has_arms=True, share=0.4):
    rng = np.random.default_rng(seed)
    baseline, score = rng.normal(size=(2, n))
    arm = (rng.permutation(n) < round(share * n)).astype(float)
    gain = 0.7 * baseline + foretells * score + 0.5 * arm + rng.normal(size=n)
    gain += moderates * score * (arm if has_arms else 1)
    fold = np.concatenate([rng.permutation(n) % 4 + 4 * k for k in range(n_repeats)])
    gain, arm, baseline, score = (np.tile(one, n_repeats) for one in (gain, arm, baseline, score))
    repeat, unit = np.repeat(np.arange(n_repeats), n), np.tile(np.arange(n), n_repeats)
    arms = (arm, np.full(len(arm), share)) if has_arms else (None, None)
    return ScoredTrial(gain, *arms, baseline[:, None], score, repeat, fold, unit)


def test_scores_are_standardised_and_ranked_within_folds():
    score = np.array([1.0, 2.0, 3.0, 100.0, 300.0, 7.0, 7.0])
    fold = np.array([0, 0, 0, 1, 1, 2, 2])
    z, rank = standardised_within(score, fold), ranked_within(score, fold)
    np.testing.assert_allclose(z, [-1.2247449, 0, 1.2247449, -1, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rank, [1 / 6, 0.5, 5 / 6, 0.25, 0.75, 0.5, 0.5])


@pytest.mark.parametrize("has_arms", [True, False])
def test_slopes_are_those_of_least_squares_with_hc3(has_arms):
    api = pytest.importorskip("statsmodels.api")
    own = trial(3, moderates=0.4, foretells=0.3, has_arms=has_arms)
    z, one = standardised_within(own.score, own.fold), np.ones(N)
    columns = [one, own.arm, z, own.arm * z] if has_arms else [one, z]
    model = api.OLS(own.gain, np.column_stack([*columns, own.adjusted])).fit(cov_type="HC3")
    found, place = fit_slopes(own), len(columns) - 1
    assert found.estimate["interaction"] == pytest.approx(model.params[place])
    assert found.se("interaction") == pytest.approx(model.bse[place])
    assert found.t("interaction") == pytest.approx(model.tvalues[place])
    assert found.sd == pytest.approx(np.sqrt(model.scale))
    assert found.df == model.df_resid
    if has_arms:
        active = model.t_test([0, 0, 1, 1, 0])
        assert found.estimate["active"] == pytest.approx(active.effect[0])
        assert found.se("active") == pytest.approx(active.sd[0, 0])


def test_repeats_feign_no_further_people():
    once, thrice = fit_slopes(trial(5)), fit_slopes(trial(5, n_repeats=3))
    assert thrice.df == once.df
    assert thrice.se("arm") == pytest.approx(once.se("arm"), rel=0.05)


def test_effect_that_goes_with_baseline_is_not_told_beyond_it():
    rng = np.random.default_rng(1)
    own = trial(1, n=400)
    gain = own.gain + 2 * own.arm * own.adjusted[:, 0]
    score = own.adjusted[:, 0] + 0.5 * rng.normal(size=400)
    changed = vars(own) | {"gain": gain, "score": score}
    plain, beyond = (fit_slopes(ScoredTrial(**changed), one) for one in (False, True))
    assert plain.t("interaction") > 5
    assert abs(beyond.t("interaction")) < 2.5


def test_score_alike_for_all_has_no_interaction():
    own = trial(2)
    found = fit_slopes(ScoredTrial(**(vars(own) | {"score": np.full(N, 3.3)})))
    assert found.estimate["interaction"] == 0
    assert found.t("interaction") == 0
    assert found.estimate["arm"] != 0


def test_score_that_foretells_both_arms_is_no_moderator():
    t = [fit_slopes(trial(seed, 90, foretells=1.0)) for seed in range(40)]
    assert np.mean([one.t("main") for one in t]) > 5
    assert abs(np.mean([one.t("interaction") for one in t])) < 0.5


def test_effects_by_thirds_are_differences_of_the_arms():
    own = trial(7, n=900, moderates=1.0, share=0.5)
    thirds = effect_by_thirds(own)
    effects = [one["effect"] for one in thirds]
    assert effects == sorted(effects)
    assert effects[2] - effects[0] == pytest.approx(2.2, abs=0.4)  # between means of normal thirds
    for one in thirds:
        assert one["effect"] == pytest.approx(one["active"] - one["control"])
        assert one["control_n"] + one["active_n"] == pytest.approx(300, abs=8)
    total = sum(one["active_n"] * one["active"] for one in thirds) / own.arm.sum()
    left, effect = gain_left(own)
    assert total == pytest.approx(effect + (own.gain - left).mean(), abs=1e-6)


def test_thirds_of_a_crossover_are_mean_differences():
    thirds = effect_by_thirds(trial(7, moderates=2.0, has_arms=False))
    assert [set(one) for one in thirds] == [{"effect", "effect_se", "effect_n"}] * 3
    assert thirds[0]["effect"] < thirds[2]["effect"]
