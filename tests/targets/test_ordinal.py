import numpy as np
import pandas as pd
import pytest
import torch
from outcome_tables import out_of_fold, outcomes_with
from scipy.special import expit, logit
from scipy.stats import rankdata, somersd

from fmnet.errors import ConfigError
from fmnet.inference.links import link_from_json
from fmnet.targets.ordinal import Ordinal, OrdinalHead

LEVELS = ("none", "mild", "moderate", "severe")
TARGET = Ordinal("pain", levels=LEVELS)


def people(rng, n=60):
    """Four tenths at the lowest level, a tenth at the highest."""
    level = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3] * (n // 10))
    return outcomes_with(level=rng.permutation(level))


def scores_of(outcomes, effect, rng, n_repeats=1):
    level = outcomes["level"]
    z = (level - level.mean()) / level.std()
    return effect * z[:, None] + rng.normal(size=(n_repeats, len(level), 1))


def texts(*cells):
    ids = [f"sub-{number}" for number in range(len(cells))]
    return pd.DataFrame({"participant_id": ids, "scan_id": ids, "pain": cells})


def test_levels_are_numbered_in_their_order():
    _, values, faults = TARGET.read(texts("mild", "none", "", "severe", "Mild", "none"))
    assert np.array_equal(values["level"], [1, 0, np.nan, 3, np.nan, 0], equal_nan=True)
    assert [(fault.participant_id, fault.found) for fault in faults] == [("sub-4", "'Mild'")]
    numbered = Ordinal("pain", levels=[0, 1, 2]).read(texts("2.0", "0", "1"))
    assert numbered[1]["level"].tolist() == [2, 0, 1]


def test_levels_that_hardly_anybody_is_at_are_refused(rng):
    assert not TARGET.check(outcomes_with(level=np.arange(60) % 4))
    (fault,) = TARGET.check(outcomes_with(level=np.r_[np.arange(60) % 2, 2, 2]))
    assert fault.found == "2 at 'moderate', 0 at 'severe'"
    (fault,) = Ordinal("pain", levels=["low", "high"]).check(outcomes_with(level=np.arange(60) % 2))
    assert fault.found == "2 levels"
    assert TARGET.check_training(outcomes_with(level=[1.0, 1.0]), "repeat 0, fold 0")
    assert TARGET.strata(outcomes_with(level=[3.0, 0.0])) == ["severe", "none"]


def test_responses_are_ridits_of_the_training_people(rng):
    outcomes = outcomes_with(level=np.r_[np.arange(400) % 10 // 3, [0, 3]])
    train = np.arange(400)
    null = TARGET.fit_null(outcomes, train)
    ridit = (
        rankdata(outcomes["level"][train]) - 0.5
    ) / 400  # those below, and half of those beside
    assert np.allclose(null.responses[train, 0], (ridit - ridit.mean()) / ridit.std(), atol=5e-3)
    gap = outcomes_with(level=np.r_[np.nan, outcomes["level"][1:]])
    assert np.isnan(TARGET.fit_null(gap, train[1:]).responses[0]).all()


def test_responses_are_the_derivative_of_the_loss_where_scores_are_0(rng):
    outcomes, train = people(rng), np.arange(60)
    null = TARGET.fit_null(outcomes, train)
    outputs = torch.zeros(60, 1, requires_grad=True)
    OrdinalHead().loss(outputs, torch.from_numpy(null.losses), torch.ones(())).sum().backward()
    slopes = -outputs.grad.numpy()
    assert np.corrcoef(slopes[:, 0], null.responses[:, 0])[0, 1] == pytest.approx(1, abs=1e-6)


def test_loss_is_that_of_cumulative_logits():
    thresholds, score = np.array([-1.0, 0.5, 2.0]), np.array([0.3, -4.0, 9.0, 1.0])
    level = np.array([2, 3, 0, 1])
    beyond = expit(score[:, None] - thresholds)
    p = -np.diff(np.c_[np.ones(4), beyond, np.zeros(4)], axis=1)[np.arange(4), level]
    target = torch.from_numpy(np.c_[level, np.tile(thresholds, (4, 1))])
    head, outputs = OrdinalHead(), torch.from_numpy(score)[:, None]
    loss = head.loss(outputs, target, torch.ones(()))
    assert np.allclose(loss.numpy(), -np.log(p), rtol=1e-5)
    target[1, 0] = torch.nan
    assert head.loss(outputs, target, torch.ones(()))[1] == 0
    with pytest.raises(ConfigError, match="loss of its own"):
        head.check_loss(torch.nn.MSELoss())


def test_training_people_lack_a_level_without_harm(rng):
    outcomes = outcomes_with(level=[0, 1, 2] * 20 + [3])
    null = TARGET.fit_null(outcomes, np.arange(60))
    assert np.isfinite(null.losses).all()
    head = OrdinalHead()
    loss = head.loss(torch.zeros(61, 1), torch.from_numpy(null.losses), torch.ones(()))
    assert torch.isfinite(loss).all()


def test_scores_that_tell_nothing_give_everybody_the_shares(rng):
    outcomes = people(rng)
    counts = np.bincount(outcomes["level"].astype(int), minlength=4) + 0.5
    for scores in (np.zeros((60, 1)), -scores_of(outcomes, 2.0, rng)[0]):
        link = TARGET.fit_link(scores, outcomes)
        assert link.slope == 0
        found = link.outputs(scores)
        p = np.stack([found[f"p_{name}"] for name in LEVELS], axis=1)
        assert np.allclose(p, counts / counts.sum(), atol=1e-6)


def test_probabilities_have_the_shares_on_average_and_no_scale(rng):
    outcomes = people(rng)
    scores = scores_of(outcomes, 1.5, rng)[0]
    link = TARGET.fit_link(scores, outcomes)
    found = link.outputs(scores)
    p = np.stack([found[f"p_{name}"] for name in LEVELS], axis=1)
    shares = (np.bincount(outcomes["level"].astype(int), minlength=4) + 0.5) / 62
    assert np.allclose(p.mean(axis=0), shares, atol=1e-6)
    assert np.allclose(found["expected_level"], p @ np.arange(4))
    again = TARGET.fit_link(1e-2 * scores + 3, outcomes).outputs(1e-2 * scores + 3)
    assert np.allclose(again["expected_level"], found["expected_level"], atol=1e-6)
    assert link_from_json(link.to_json()) == link


def test_the_link_finds_the_slope_of_many_people(rng):
    x = rng.normal(size=2000)
    latent = 1.3 * x + logit(rng.random(2000))
    outcomes = outcomes_with(level=np.digitize(latent, [-1.5, 0.4, 2.0]))
    link = TARGET.fit_link(x[:, None], outcomes)
    assert link.slope == pytest.approx(1.3, rel=0.08)
    assert np.allclose(link.thresholds, [-1.5, 0.4, 2.0], atol=0.2)


def test_figures_are_those_of_other_packages(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.8, rng), rng, n_folds=2)
    figures = TARGET.figures(rows)
    level, fold = rows["outcome_level"].to_numpy(), rows["fold"].to_numpy()
    won = met = 0.0
    for _, own in rows.groupby("fold"):
        value = own["outcome_level"].to_numpy()
        n_pairs = (value[:, None] > value).sum()
        won += n_pairs * somersd(value, own["score"].to_numpy()).statistic
        met += n_pairs
    assert figures["somers_d"] == pytest.approx(won / met)
    assert figures["concordance"] == pytest.approx((1 + won / met) / 2)
    p = rows[[f"p_{name}" for name in LEVELS]].to_numpy()
    told = np.eye(4)[level.astype(int)]
    squares = (np.cumsum(p, axis=1) - np.cumsum(told, axis=1)) ** 2
    assert figures["rps"] == pytest.approx(squares.sum(axis=1).mean() / 3)
    shares = np.stack([told[fold != own].mean(axis=0) for own in fold])
    squares = (np.cumsum(shares, axis=1) - np.cumsum(told, axis=1)) ** 2
    assert figures["rps_shares"] == pytest.approx(squares.sum(axis=1).mean() / 3)
    median = np.array([np.quantile(level[fold != own], 0.5, method="inverted_cdf") for own in fold])
    assert figures["mae_median"] == pytest.approx(np.abs(level - median).mean())
    got = TARGET.statistic(rows[["score"]].to_numpy(), outcomes_with(level=level), fold)
    assert got == pytest.approx(figures["spearman"])


def test_null_cohorts_give_chance(rng):
    found = []
    for _ in range(16):
        outcomes = people(rng)
        rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.0, rng), rng)
        found.append(TARGET.figures(rows))
    table = pd.DataFrame(found)
    errors = table.std() / np.sqrt(len(table))
    assert abs(table["concordance"].mean() - 0.5) < 3.5 * errors["concordance"]
    assert abs(table["spearman"].mean()) < 3.5 * errors["spearman"]
    assert -0.002 < (table["rps"] - table["rps_shares"]).mean() < 0.01


def facts_of(rows, p):
    figures = TARGET.figures(rows)
    own = figures | {"concordance_ci": [figures["concordance"] - 0.05, 1.0], "slope_ci": [0.2, 0.8]}
    return {
        "studied": "network", "models": {"network": own}, "kinds": {"network": "closed form"},
        "permutation": {"models": {"network": {"p": p}}}, "n_subjects": 60, "n_scans": 60,
    }  # fmt: skip


def test_verdict_and_details_tell_levels(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 1.5, rng, n_repeats=2), rng)
    details = TARGET.details(rows)
    assert np.array(details["confusion"]).sum(axis=1) == pytest.approx(
        np.bincount(outcomes["level"].astype(int), minlength=4)
    )
    assert len(details["people"]) == 60
    assert details["people"][0]["observed"] == outcomes["level"][0]
    facts = facts_of(rows, 0.005)
    said = TARGET.verdict(facts)
    assert said[0].text.startswith("In this cohort scans tell levels of pain of new people")
    assert "say more than these" in said[1].text
    assert "differ too much between people" in said[2].text
    assert TARGET.verdict(facts_of(rows, 0.3))[0].severity == "amber"
    assert next(name for _, name, _ in TARGET.tripod(facts)) == "Outcome"
    assert [one.name for one in TARGET.meanings][-1] == "expected_level"
    assert TARGET.summary(outcomes_with(level=[0, 1, 1, 3])) == (
        "4 people, pain: 1 none, 2 mild, 0 moderate, 1 severe"
    )
