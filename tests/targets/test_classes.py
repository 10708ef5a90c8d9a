import numpy as np
import pandas as pd
import pytest
import torch
from outcome_tables import out_of_fold, outcomes_with
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from fmnet.errors import ConfigError
from fmnet.inference.links import link_from_json
from fmnet.targets.classes import Classes, ClassesHead

GROUPS = {"FM": ["FM"], "OA": ["kneeOA", "hipOA"], "HC": ["HC"]}
TARGET = Classes(groups=GROUPS)


def people(n=60):
    """Groups of unequal sizes: half, a third, a sixth."""
    group = np.array([0, 0, 0, 1, 1, 2] * (n // 6))
    return outcomes_with(group=group)


def scores_of(outcomes, effect, rng, n_repeats=1):
    member = np.eye(3)[outcomes["group"].astype(int)]
    return effect * member + rng.normal(size=(n_repeats, len(member), 3))


def texts(*cells):
    ids = [f"sub-{number}" for number in range(len(cells))]
    return pd.DataFrame({"participant_id": ids, "scan_id": ids, "group": cells})


def test_values_are_put_together_and_others_left_out():
    target, values, faults = TARGET.read(texts("FM", "hipOA", "kneeOA", "HC", "pelvic", "", "FM"))
    assert not faults
    assert np.array_equal(values["group"], [0, 1, 1, 2, np.nan, np.nan, 0], equal_nan=True)
    assert target.score_names == ("FM", "OA", "HC")
    assert np.array_equal(target.is_known(outcomes_with(**values)), ~np.isnan(values["group"]))


def test_every_value_is_a_group_unless_they_are_named():
    target, values, _ = Classes().read(texts("OA", "FM", "", "HC", "FM"))
    assert target.names == ("FM", "HC", "OA")
    assert np.array_equal(values["group"], [2, 0, np.nan, 1, 0], equal_nan=True)
    numbered, values, faults = Classes(groups={"ill": [1], "well": 0}).read(texts("1.0", "0", "1"))
    assert (faults, values["group"].tolist()) == ([], [0, 1, 0])
    assert numbered.names == ("ill", "well")


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ({"FM": ["FM"], "OA": ["OAA"]}, "'OAA', which nobody has"),
        ({"FM": ["FM"], "all": ["FM", "HC"]}, "'FM' more than once"),
    ],
)
def test_groups_that_cannot_be_meant_are_faults(groups, found):
    _, _, faults = Classes(groups=groups).read(texts("FM", "HC", "OA"))
    assert [fault.found for fault in faults] == [found]


def test_small_groups_are_refused():
    few = outcomes_with(group=[0] * 12 + [1] * 11 + [2] * 4)
    (fault,) = TARGET.check(few)
    assert fault.found == "4 people in 'HC'"
    assert not TARGET.check(outcomes_with(group=[0] * 12 + [1] * 11 + [2] * 10))
    (fault,) = Classes(groups={"FM": ["FM"]}).check(outcomes_with(group=[0] * 30))
    assert fault.found == "1 groups"
    (fault,) = TARGET.check_training(outcomes_with(group=[0, 1, 0]), "repeat 0, fold 3")
    assert (fault.where, fault.found) == ("repeat 0, fold 3", "nobody of HC")
    assert TARGET.strata(outcomes_with(group=[2, 0])) == ["HC", "FM"]


def test_scans_of_one_person_are_one_person():
    (fault,) = TARGET.check(outcomes_with(n_scans=3, group=[0] * 30 + [1] * 30 + [2] * 15))
    assert fault.found == "5 people in 'HC'"


def test_responses_are_indicators_less_shares():
    outcomes = people()
    train = np.arange(13, 60)
    null = TARGET.fit_null(outcomes, train)
    assert null.responses.shape == (60, 3)
    assert np.allclose(null.responses[train].mean(axis=0), 0, atol=1e-6)
    assert np.allclose(null.responses[train].std(axis=0), 1, atol=1e-5)
    assert (null.responses.argmax(axis=1) == outcomes["group"]).all()
    expected = compute_class_weight(
        "balanced", classes=np.arange(3), y=outcomes["group"][train].astype(int)
    )
    assert np.allclose(null.losses[:, 1], expected[outcomes["group"].astype(int)])
    gap = TARGET.fit_null(outcomes.replace(group=np.r_[np.nan, outcomes["group"][1:]]), train)
    assert np.isnan(gap.responses[0]).all()
    assert np.isnan(gap.losses[0]).all()


def test_head_learns_by_weighted_cross_entropy():
    head, outputs = ClassesHead(3), torch.randn(4, 7, 3)
    group = torch.randint(0, 3, (4, 7)).float()
    weight = torch.rand(4, 7)
    target = torch.stack([group, weight], dim=-1)
    target[2, 5] = torch.nan
    loss = head.loss(outputs, target, torch.ones(()))
    expected = -torch.log_softmax(outputs, dim=-1).gather(-1, group.long()[..., None])[..., 0]
    expected = expected * weight
    expected[2, 5] = 0
    assert torch.allclose(loss, expected)
    own = head.loss(outputs, target, torch.ones(()), torch.nn.CrossEntropyLoss(reduction="none"))
    assert torch.allclose(own, expected)
    scores = head(outputs)
    assert torch.allclose(scores.sum(dim=-1), torch.zeros(4, 7), atol=1e-5)
    assert torch.allclose(torch.softmax(scores, -1), torch.softmax(outputs, -1))


def test_head_takes_losses_of_classes_alone():
    head = ClassesHead(4)
    head.check_loss(torch.nn.CrossEntropyLoss())
    with pytest.raises(ConfigError, match="logits"):
        head.check_loss(torch.nn.BCEWithLogitsLoss())
    assert head.describe()["settings"] == {"n_groups": 4}


def test_metric_of_validation_is_the_macro_auc():
    metric = ClassesHead(3).metrics()["macro_auroc"]
    scores, group = torch.randn(40, 3), torch.arange(40) % 3
    target = torch.stack([group.float(), torch.ones(40)], dim=-1)
    target[7] = torch.nan
    metric.update(scores, target)
    own = np.arange(40) != 7
    p = torch.softmax(scores, dim=-1)
    expected = roc_auc_score(group[own], p[own], multi_class="ovr")
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-5)


def test_scores_that_tell_nothing_give_everybody_the_shares(rng):
    outcomes = people()
    for scores in (np.zeros((60, 3)), np.ones((60, 3)) * [3, 1, 2]):
        p = np.stack(list(TARGET.fit_link(scores, outcomes).outputs(scores).values()), axis=1)
        assert np.allclose(p, [1 / 2, 1 / 3, 1 / 6])
    # against the truth, as scores out of fold often are
    scores = -2 * np.eye(3)[outcomes["group"].astype(int)] + 0.1 * rng.normal(size=(60, 3))
    link = TARGET.fit_link(scores, outcomes)
    assert link.slope == 0
    assert list(link.outputs(scores)) == ["p_FM", "p_OA", "p_HC"]


def test_probabilities_have_the_shares_on_average_and_no_scale(rng):
    outcomes = people()
    scores = scores_of(outcomes, 2.0, rng)[0]
    link = TARGET.fit_link(scores, outcomes)
    p = np.stack(list(link.outputs(scores).values()), axis=1)
    assert np.allclose(p.mean(axis=0), [1 / 2, 1 / 3, 1 / 6], atol=1e-4)
    other = TARGET.fit_link(50 * scores + 7, outcomes)
    again = np.stack(list(other.outputs(50 * scores + 7).values()), axis=1)
    assert np.allclose(p, again, atol=1e-6)
    assert link_from_json(link.to_json()) == link
    apart = 50 * np.eye(3)[outcomes["group"].astype(int)]
    sure = np.stack(list(TARGET.fit_link(apart, outcomes).outputs(apart).values()), axis=1)
    assert np.isfinite(sure).all()
    assert (sure.argmax(axis=1) == outcomes["group"]).all()


def test_people_count_once_in_the_link(rng):
    outcomes = outcomes_with(group=[0] * 20 + [1] * 20 + [2] * 20)
    scores = scores_of(outcomes, 1.0, rng)[0]
    rows = np.concatenate([np.arange(60), np.zeros(40, int)])  # one person scanned 41 times
    link = TARGET.fit_link(scores[rows], outcomes.take(rows))
    p = np.stack(list(link.outputs(scores).values()), axis=1)
    assert np.allclose(p.mean(axis=0), 1 / 3, atol=1e-3)


def test_figures_are_those_of_scikit_learn(rng):
    outcomes = people()
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 1.0, rng), rng, n_folds=2)
    figures = TARGET.figures(rows)
    group = rows["outcome_group"].to_numpy(int)
    p = rows[["p_FM", "p_OA", "p_HC"]].to_numpy()
    assert figures["log_loss"] == pytest.approx(log_loss(group, p))
    won = met = 0.0
    for _, own in rows.groupby("fold"):
        is_fm = own["outcome_group"] == 0
        pairs = is_fm.sum() * (~is_fm).sum()
        won, met = won + pairs * roc_auc_score(is_fm, own["score_FM"]), met + pairs
    assert figures["auc_FM"] == pytest.approx(won / met)
    each = [figures[f"auc_{name}"] for name in TARGET.names]
    assert figures["macro_auc"] == pytest.approx(np.mean(each))
    shares = np.stack(
        [
            np.bincount(group[rows["fold"] != fold], minlength=3) / (rows["fold"] != fold).sum()
            for fold in rows["fold"]
        ]
    )
    assert figures["log_loss_shares"] == pytest.approx(log_loss(group, shares))
    expected = balanced_accuracy_score(group, (p / shares).argmax(axis=1))
    assert figures["balanced_accuracy"] == pytest.approx(expected)
    fold = rows["fold"].to_numpy()
    scores = rows[[f"score_{name}" for name in TARGET.names]].to_numpy()
    held = outcomes_with(group=group)
    assert TARGET.statistic(scores, held, fold) == pytest.approx(figures["macro_auc"])


def test_a_model_that_knows_nothing_is_at_chance(rng):
    outcomes = people()
    rows = out_of_fold(TARGET, outcomes, np.zeros((2, 60, 3)), rng)
    figures = TARGET.figures(rows)
    assert figures["macro_auc"] == 0.5
    assert figures["balanced_accuracy"] == pytest.approx(1 / 3)
    assert figures["log_loss"] == pytest.approx(figures["log_loss_shares"])
    assert not any(row["is_told"] for row in TARGET.details(rows)["nearest"])


def test_null_cohorts_give_chance(rng):
    outcomes = people()
    found = pd.DataFrame(
        TARGET.figures(out_of_fold(TARGET, outcomes, scores_of(outcomes, 0, rng), rng))
        for _ in range(16)
    )
    errors = found.std() / np.sqrt(len(found))
    assert abs(found["macro_auc"].mean() - 0.5) < 3.5 * errors["macro_auc"]
    assert abs(found["balanced_accuracy"].mean() - 1 / 3) < 3.5 * errors["balanced_accuracy"]
    # what they claim beyond the shares costs next to nothing
    assert 0 < (found["log_loss"] - found["log_loss_shares"]).mean() < 0.02


def test_details_are_plain_and_add_up(rng):
    outcomes = people()
    rows = out_of_fold(TARGET, outcomes, scores_of(outcomes, 1.5, rng, n_repeats=2), rng)
    details = TARGET.details(rows)
    assert details["groups"] == ["FM", "OA", "HC"]
    assert np.array(details["confusion"]).sum(axis=1) == pytest.approx([30, 20, 10])
    assert [(row["one"], row["other"]) for row in details["pairs"]] == [
        ("FM", "OA"), ("FM", "HC"), ("OA", "HC"),
    ]  # fmt: skip
    assert len(details["people"]) == 60
    first = details["people"][3]
    own = rows[rows["participant_id"] == "sub-003"]
    assert first["observed"] == "OA"
    assert first["p_OA"] == pytest.approx(own["p_OA"].mean())
    assert {row["group"] for row in details["nearest"]} == {"FM", "OA", "HC"}


def facts_of(target, rows, **more):
    primary = target.primary.name
    figures = target.figures(rows)
    own = figures | {f"{primary}_ci": [figures[primary] - 0.1, figures[primary] + 0.1]}
    return {
        "studied": "network",
        "models": {"network": own},
        "kinds": {"network": "closed form"},
        "details": {"network": target.details(rows)},
        "comparisons": [],
        "n_subjects": 60,
        "n_scans": 60,
        **more,
    }


def test_verdict_says_which_groups_are_near_and_which_are_not_told_apart(rng):
    outcomes = outcomes_with(group=np.arange(150) % 3)
    centre = np.array([[1.2, 0.5, -1.7], [0.5, 1.2, -1.7], [-0.5, -0.5, 1.0]])
    scores = centre[outcomes["group"].astype(int)] + rng.normal(size=(1, 150, 3))
    rows = out_of_fold(TARGET, outcomes, scores, rng)
    permutation = {"models": {"network": {"p": 0.01}}}
    facts = facts_of(TARGET, rows, permutation=permutation)
    texts = [said.text for said in TARGET.verdict(facts)]
    assert texts[0].startswith("In this cohort scans tell the groups apart (network: macro AUC 0.")
    assert any("OA is the one that scans of FM are nearest to" in text for text in texts)
    assert texts[-1].startswith("Of each group")
    assert all(text.endswith(".") for text in texts)
    facts["permutation"]["models"]["network"]["p"] = 0.3
    facts["details"]["network"]["pairs"][0]["ci"] = [0.4, 0.7]
    said = TARGET.verdict(facts)
    assert said[0].text.startswith("It is not shown that scans tell the groups apart")
    assert (said[0].severity, said[1].severity) == ("amber", "amber")
    assert said[1].text.startswith("Not shown to be told apart from each other: FM and OA")
    for number, name, text in TARGET.tripod(facts):
        assert number
        assert name
        assert text.endswith(".")


def test_target_says_what_it_is():
    said = TARGET.describe()
    assert said["scores"] == ["FM", "OA", "HC"]
    assert [one["name"] for one in said["outputs"]] == ["p_FM", "p_OA", "p_HC"]
    assert "a diagnosis" in said["outputs"][0]["means_not"]
    assert TARGET.summary(people()) == "60 people: 30 FM, 20 OA, 10 HC"
