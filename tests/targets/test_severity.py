from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from outcome_tables import out_of_fold, outcomes_with
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score

from fmnet.errors import ConfigError
from fmnet.evaluation.outcome_study import evaluate_outcomes
from fmnet.inference.links import link_from_json
from fmnet.targets.severity import GradedHead, Severity

TARGET = Severity("fiqr", unit="FIQ-R points", lowest=0, highest=100)


def people(rng, n=60):
    return outcomes_with(value=np.clip(rng.normal(50, 15, n), 0, 100).round(1))


def scores_of(outcomes, correlation, rng, n_repeats=1):
    z = (outcomes["value"] - 50) / 15
    noise = rng.normal(size=(n_repeats, len(z), 1))
    return correlation * z[:, None] + np.sqrt(1 - correlation**2) * noise


def texts(*cells):
    ids = [f"sub-{number}" for number in range(len(cells))]
    return pd.DataFrame({"participant_id": ids, "scan_id": ids, "fiqr": cells})


def test_numbers_are_read_and_others_are_faults_of_the_person():
    target, values, faults = TARGET.read(texts("12", "88.5", "", "bad", "101", "n/a", "-1"))
    assert target is TARGET
    expected = [12, 88.5, np.nan, np.nan, np.nan, np.nan, np.nan]
    assert np.array_equal(values["value"], expected, equal_nan=True)
    assert [fault.participant_id for fault in faults] == ["sub-3", "sub-4", "sub-6"]
    assert "from 0 to 100" in faults[1].accepted
    assert (faults[1].where, faults[1].found) == ("sub-4, fiqr", "'101'")
    assert not Severity("fiqr").read(texts("-3", "1000"))[2]


def test_few_people_and_numbers_that_are_all_alike_are_refused(rng):
    assert not TARGET.check(people(rng))
    (fault,) = TARGET.check(people(rng, n=12))
    assert fault.found == "12 people with a number"
    (fault,) = TARGET.check(outcomes_with(value=np.full(30, 7.0)))
    assert fault.found == "30 scans that all have the same fiqr"
    (fault,) = TARGET.check_training(outcomes_with(value=[3.0, 3.0]), "repeat 1, fold 2")
    assert fault.where == "repeat 1, fold 2"


def test_strata_are_quarters_by_rank_and_people_stay_in_theirs(rng):
    strata = TARGET.strata(outcomes_with(value=np.exp(rng.normal(size=41))))
    counts = pd.Series(strata).value_counts()
    assert set(counts) == {10, 11}
    outcomes = outcomes_with(n_scans=3, value=rng.normal(size=60))
    of_people = np.reshape(TARGET.strata(outcomes), (20, 3))
    assert (of_people == of_people[:, :1]).all()
    ties = TARGET.strata(outcomes_with(value=[0] * 6 + [1, 2, 3, 4, 5, 6]))
    assert len(set(ties[:6])) == 1


def test_responses_are_what_the_mean_leaves(rng):
    outcomes, train = people(rng), np.arange(20, 60)
    null = TARGET.fit_null(outcomes, train)
    y = outcomes["value"]
    expected = (y - y[20:].mean()) / y[20:].std()
    assert np.allclose(null.responses[:, 0], expected, atol=1e-5)
    assert null.losses.shape == (60, 1)


def test_head_learns_by_squared_error_of_what_is_known():
    head, outputs = GradedHead(), torch.randn(5, 7, 1)
    target = torch.randn(5, 7, 1)
    target[3, 2] = torch.nan
    loss = head.loss(outputs, target, torch.ones(()))
    expected = torch.nan_to_num((outputs - target) ** 2)[..., 0]
    assert torch.allclose(loss, expected)
    own = head.loss(outputs, target, torch.ones(()), torch.nn.MSELoss(reduction="none"))
    assert torch.allclose(own, expected)
    assert torch.equal(head(outputs), outputs)
    head.check_loss(torch.nn.HuberLoss())
    with pytest.raises(ConfigError, match="standardised numbers"):
        head.check_loss(torch.nn.CrossEntropyLoss())


def test_metric_of_validation_is_spearmans():
    metric = GradedHead().metrics()["spearman"]
    scores, target = torch.randn(30, 1), torch.randn(30, 1)
    target[4] = torch.nan
    metric.update(scores[:18], target[:18])
    metric.update(scores[18:], target[18:])
    own = np.arange(30) != 4
    expected = spearmanr(scores[own, 0], target[own, 0]).statistic
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-5)
    metric.reset()
    metric.update(scores[:18], scores[:18])
    assert float(metric.compute()) == pytest.approx(1)


def test_scores_that_tell_nothing_predict_the_mean(rng):
    outcomes = people(rng)
    for scores in (np.zeros((60, 1)), np.full((60, 1), 3.7), -scores_of(outcomes, 0.9, rng)[0]):
        link = TARGET.fit_link(scores, outcomes)
        assert link.slope == 0
        assert link.outputs(scores)["value"] == pytest.approx(outcomes["value"].mean())


def test_the_slope_is_shrunken_where_little_is_known_and_has_no_scale(rng):
    outcomes = people(rng)
    weak, strong = (scores_of(outcomes, r, rng)[0] for r in (0.25, 0.95))
    fitted = [
        LinearRegression().fit(scores, outcomes["value"]).coef_[0] for scores in (weak, strong)
    ]
    links = [TARGET.fit_link(scores, outcomes) for scores in (weak, strong)]
    parts = [link.slope / slope for link, slope in zip(links, fitted, strict=True)]
    assert 0 < parts[0] < 0.75
    assert 0.9 < parts[1] <= 1
    other = TARGET.fit_link(1e-3 * strong - 5, outcomes)
    values = other.outputs(1e-3 * strong - 5)["value"]
    assert values == pytest.approx(links[1].outputs(strong)["value"], rel=1e-6)
    assert link_from_json(links[1].to_json()) == links[1]
    perfect = TARGET.fit_link(outcomes["value"][:, None], outcomes)
    assert perfect.slope == pytest.approx(1, abs=0.01)


def test_predictions_stay_on_the_scale():
    outcomes = outcomes_with(value=np.r_[np.zeros(20), np.full(20, 100.0)])
    scores = np.r_[np.full(20, -1.0), np.full(20, 1.0)][:, None]
    found = TARGET.fit_link(scores, outcomes).outputs(np.array([[-9.0], [9.0], [0.0]]))
    assert found["value"][:2].tolist() == [0, 100]
    assert (found["value_low"] >= 0).all()
    assert (found["value_high"] <= 100).all()
    assert set(found) == {"value", "value_low", "value_high"}


@pytest.mark.parametrize(("n", "off"), [(14, 0.04), (60, 0.015)])
def test_intervals_hold_nine_of_ten_new_people(rng, n, off):
    target, held = Severity("fiqr"), []
    for _ in range(60):
        outcomes = people(rng, n)
        link = target.fit_link(scores_of(outcomes, 0.6, rng)[0], outcomes)
        new = people(rng, 200)
        found = link.outputs(scores_of(new, 0.6, rng)[0])
        held.append(
            np.mean((new["value"] > found["value_low"]) & (new["value"] < found["value_high"]))
        )
    assert np.mean(held) == pytest.approx(0.9, abs=off)


def test_people_count_once_in_the_link(rng):
    outcomes = people(rng, 30)
    scores = scores_of(outcomes, 0.8, rng)[0]
    rows = np.repeat(np.arange(30), 2)  # everybody twice: nothing more is known
    one, two = TARGET.fit_link(scores, outcomes), TARGET.fit_link(scores[rows], outcomes.take(rows))
    assert two.slope == pytest.approx(one.slope)
    assert two.intercept == pytest.approx(one.intercept)


def test_figures_are_those_of_scikit_learn(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.6, rng), rng, n_folds=3)
    figures = TARGET.figures(rows)
    y, predicted, fold = (rows[name].to_numpy() for name in ("outcome_value", "value", "fold"))
    means = np.array([y[fold != own].mean() for own in fold])
    medians = np.array([np.median(y[fold != own]) for own in fold])
    # squared errors against those of the training folds' means
    expected = 1 - ((y - predicted) ** 2).sum() / ((y - means) ** 2).sum()
    assert figures["r2"] == pytest.approx(expected)
    assert figures["mae"] == pytest.approx(mean_absolute_error(y, predicted))
    assert figures["mae_median"] == pytest.approx(mean_absolute_error(y, medians))
    rs = [
        spearmanr(own["score"], own["outcome_value"]).statistic for _, own in rows.groupby("fold")
    ]
    assert figures["spearman"] == pytest.approx(np.tanh(np.mean(np.arctanh(rs))))
    dummies = np.eye(3)[fold]
    fit = LinearRegression(fit_intercept=False).fit(np.column_stack([predicted, dummies]), y)
    assert figures["slope"] == pytest.approx(fit.coef_[0])
    inside = (y >= rows["value_low"]) & (y <= rows["value_high"])
    assert figures["coverage"] == pytest.approx(inside.mean())
    assert np.isnan(figures["r2_within"])
    got = TARGET.statistic(rows[["score"]].to_numpy(), outcomes_with(value=y), fold)
    assert got == pytest.approx(figures["pearson"])
    whole = TARGET.figures(rows.assign(fold=0))  # a lock-box
    assert whole["r2"] == pytest.approx(r2_score(y, predicted))


def test_r2_may_be_negative(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.0, rng), rng)
    wrong = rows.assign(value=100 - rows["outcome_value"])
    assert TARGET.figures(wrong)["r2"] < -1


def test_null_cohorts_give_chance(rng):
    found = []
    for _ in range(40):
        outcomes = people(rng)
        rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.0, rng), rng)
        found.append(TARGET.figures(rows))
    table = pd.DataFrame(found)
    errors = table.std() / np.sqrt(len(table))
    assert abs(table["pearson"].mean()) < 3.5 * errors["pearson"]
    assert abs(table["spearman"].mean()) < 3.5 * errors["spearman"]
    # what predictions claim beyond the mean costs next to nothing
    assert -0.04 < table["r2"].mean() < 0.01
    assert table["coverage"].mean() == pytest.approx(0.9, abs=0.03)


def several_scans(rng, n=80):
    """Scans tell people apart, not the days of one of them."""
    level = rng.normal(size=n)
    value = 50 + 10 * np.repeat(level, 3) + 7 * rng.normal(size=3 * n)
    scores = np.repeat(level, 3) + 0.05 * rng.normal(size=3 * n)
    return outcomes_with(n_scans=3, value=value), scores[None, :, None]


def test_what_is_told_between_people_and_within_them_is_told_apart(rng):
    outcomes, scores = several_scans(rng)
    rows = out_of_fold(TARGET, outcomes, scores, rng)
    figures = TARGET.figures(rows)
    assert figures["share_between"] == pytest.approx(100 / 149, abs=0.12)
    assert figures["r2_between"] > 0.8
    assert abs(figures["r2_within"]) < 0.1
    parts = figures["r2_from_between"] + figures["r2_from_within"]
    assert parts == pytest.approx(figures["r2"])
    variance = TARGET.details(rows)["variance"]
    assert variance["error"]["between"] < 0.3 * variance["outcome"]["between"]
    copies = pd.concat([rows, rows.assign(participant_id=rows["participant_id"] + " (2)",
                                          scan_id=rows["scan_id"] + " (2)")])  # fmt: skip
    assert TARGET.figures(copies)["r2_within"] == pytest.approx(figures["r2_within"], abs=1e-3)


def test_details_average_repeats_and_are_plain(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.7, rng, n_repeats=3), rng)
    details = TARGET.details(rows)
    assert details["unit"] == "FIQ-R points"
    assert len(details["people"]) == 60
    first, own = details["people"][0], rows[rows["participant_id"] == "sub-000"]
    assert first["observed"] == outcomes["value"][0]
    assert first["value"] == pytest.approx(own["value"].mean())
    assert sum(part["n"] for part in details["calibration"]) == 60
    assert details["variance"] is None


def facts_of(rows, p=0.01, **intervals):
    figures = TARGET.figures(rows)
    own = {name: None if np.isnan(value) else value for name, value in figures.items()}
    own |= {"r2_ci": [figures["r2"] - 0.1, figures["r2"] + 0.1]} | intervals
    rival = own | {"r2": own["r2"] + 0.1}
    difference = {"model": "network", "rival": "voxel_ridge", "difference": -0.1, "p": 0.4}
    return {
        "studied": "network",
        "models": {"network": own, "voxel_ridge": rival, "motion": own | {"r2": own["r2"] - 0.2}},
        "kinds": {"network": "closed form", "voxel_ridge": "linear", "motion": "shortcut"},
        "titles": {"network": "prior CNN", "voxel_ridge": "ridge on voxels"},
        "comparisons": [difference | {"ci": [-0.3, 0.1], "p_holm": 0.4}],
        "permutation": {"models": {"network": {"p": p}}},
        "n_subjects": 60,
        "n_scans": 60,
    }


def test_verdict_answers_first_and_tells_what_stands_beside_it(rng):
    outcomes = people(rng)
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 0.7, rng), rng)
    facts = facts_of(rows, slope_ci=[1.2, 2.0], coverage_ci=[0.7, 0.85])
    said = TARGET.verdict(facts)
    first = "In this cohort scans tell fiqr (FIQ-R points) of new people (prior CNN: R² 0."
    assert said[0].text.startswith(first)
    assert "p = 0.01 by permutation" in said[0].text
    assert said[1].text.startswith("It is not distinguishable from ridge on voxels (R²")
    text = " ".join(one.text for one in said)
    for words in ("by 1", "differ too little", "Intervals meant to hold 90% of people hold"):
        assert words in text
    assert "with and without the condition" in text
    among = replace(TARGET, among={"group": ["FM"]}).verdict(facts)
    assert len(among) == len(said) - 1
    facts["kinds"]["voxel_ridge"] = "shortcut"
    red = [one.text for one in TARGET.verdict(facts) if one.severity == "red"]
    assert len(red) == 1
    assert "Ridge on voxels" in red[0]
    assert red[0].endswith("which sees no region of the brain, does as well.")
    none = TARGET.verdict(facts_of(rows, p=0.2))
    assert none[0].text.startswith("It is not shown that scans tell fiqr")
    assert all(one.text.endswith(".") for one in [*said, *none])
    assert all(text.endswith(".") for _, _, text in TARGET.tripod(facts))


def test_verdict_says_that_ups_and_downs_are_not_shown(rng):
    outcomes, scores = several_scans(rng)
    said = TARGET.verdict(facts_of(out_of_fold(TARGET, outcomes, scores, rng)))
    assert said[-1].severity == "amber"
    assert said[-1].text.endswith("That scans follow a person's ups and downs is not shown.")


def test_target_says_what_it_is(rng):
    said = TARGET.describe()
    assert [one["name"] for one in said["outputs"]] == ["value", "value_low", "value_high"]
    assert {one["unit"] for one in said["outputs"]} == {"FIQ-R points"}
    told = TARGET.summary(outcomes_with(n_scans=2, value=[12, 20, 51, 88, 60, 30]))
    assert told == "3 people (6 scans), fiqr 12 to 88 FIQ-R points, median 40.5"


def test_a_model_that_knows_nothing_is_at_0_whoever_is_drawn(rng):
    outcomes = people(rng)
    table = out_of_fold(TARGET, outcomes, np.zeros((1, 60, 1)), rng).assign(model="dummy")
    primary = vars(TARGET.primary)
    given = ("dummy", {"dummy": "chance"}, TARGET.figures, TARGET.details, primary)
    facts = evaluate_outcomes(TARGET.with_null(table), *given, seed=0, n_bootstrap=50)
    own = facts["models"]["dummy"]
    assert [own["r2"], *own["r2_ci"]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert own["spearman"] == 0
