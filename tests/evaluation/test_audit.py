import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from fmnet.data.cohort import Cohort
from fmnet.data.cohort_checks import LookAlikes
from fmnet.data.listing import Labels, Listing
from fmnet.data.participants import read_participants
from fmnet.data.scans import Scan
from fmnet.evaluation import audit
from fmnet.evaluation.audit import (
    audit_model,
    balance_table,
    conditional_logs,
    explained_fractions,
    full_confounder_test,
    label_auc,
    partial_confounder_test,
    participant_scores,
    predicted_fraction,
    score_association,
    standardised_difference,
)
from fmnet.evaluation.conclusions import audit_findings
from fmnet.report.sentences import written

N = 40
FIGURES = {"auc": 0.9, "auc_ci": [0.85, 0.95]}
LABEL = np.repeat([0, 1], N // 2)
PEOPLE = [f"sub-{k:02}" for k in range(N)]


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "label": LABEL,
            "low": -2.0 * LABEL + rng.normal(size=40),
            "noise": rng.normal(size=40),
            "site": np.where(LABEL + (rng.random(40) < 0.1) == 1, "A", "B"),
            "random": rng.choice(list("abcdefgh"), 40),
        }
    )


def test_direction_of_a_number_is_free(people):
    found = label_auc(people, "low", 200, 0)
    assert found["auc"] == pytest.approx(1 - roc_auc_score(LABEL, people["low"]))
    low, high = found["auc_ci"]
    assert low <= found["auc"] <= high


def test_category_that_gives_the_label_away_is_found(people):
    assert label_auc(people, "site", 100, 0)["auc"] > 0.8


def test_two_levels_are_judged_alike_as_text_and_as_number():
    rng = np.random.default_rng(3)
    level = (rng.random(40) < np.where(LABEL == 1, 0.8, 0.4)).astype(int)
    number = pd.DataFrame({"label": LABEL, "sex": level.astype(float)})
    text = pd.DataFrame({"label": LABEL, "sex": np.array(["F", "M"])[level]})
    assert label_auc(number, "sex", 200, 0) == label_auc(text, "sex", 200, 0)


def test_nothing_is_said_of_what_does_not_vary_within_groups(people):
    scores = pd.Series(np.random.default_rng(0).normal(size=40), people.index)
    same = people.assign(group=2.0 * LABEL)
    found = score_association(same, scores, "group")
    assert found["rho"] is found["p"] is None


def test_small_random_categories_do_not_tell_on_themselves():
    aucs = []
    for seed in range(20):
        random = np.random.default_rng(seed).choice(list("abcdefgh"), 40)
        aucs.append(label_auc(pd.DataFrame({"label": LABEL, "x": random}), "x", 20, 0)["auc"])
    assert 0.4 < np.mean(aucs) < 0.6


def test_correlation_within_groups_ignores_what_the_label_explains(people):
    scores = pd.Series(LABEL + 0.1 * np.random.default_rng(1).normal(size=40), people.index)
    assert abs(score_association(people, scores, "low")["rho"]) < 0.35
    direct = scores + people["low"]
    assert score_association(people, direct, "low")["rho"] > 0.8
    assert score_association(people, direct, "low")["p"] < 0.001


def test_noise_predicts_nothing_and_itself_all(people):
    score = people["noise"].to_numpy()
    assert predicted_fraction(people[["noise"]], score) > 0.95
    other = np.random.default_rng(9).normal(size=40)
    assert predicted_fraction(people[["noise"]], other) < 0.2


def test_numbers_differ_by_their_pooled_sd():
    one, other = pd.Series([1.0, 2, 3, None]), pd.Series([3.0, 5, 7])
    assert standardised_difference(one, other) == pytest.approx(3 / np.sqrt((1 + 4) / 2))


def test_large_numbers_are_written_out():
    people = pd.DataFrame({"label": [0, 0, 1, 1], "tiv": [1300.0, 1500, 1500, 1700]})
    (row,) = balance_table(people)
    assert (row["negative"], row["positive"]) == ("1400 (140)", "1600 (140)")


def test_two_categories_follow_the_formula_for_shares():
    one, other = pd.Series(list("aaab")), pd.Series(list("abbb"))
    share = 3.5 / 5  # of three in four, drawn together by half a person a level
    expected = 0.5 / np.sqrt(share * (1 - share))
    assert standardised_difference(one, other) == pytest.approx(expected)


def test_categories_that_separate_the_groups_differ_greatly():
    assert standardised_difference(pd.Series(["A"] * 20), pd.Series(["B"] * 20)) > 5
    one, other = pd.Series(list("AB") * 10), pd.Series(["C"] * 20)
    assert standardised_difference(one, other) > 3


def test_equal_groups_do_not_differ():
    assert standardised_difference(pd.Series(list("abc")), pd.Series(list("cab"))) == 0
    assert standardised_difference(pd.Series([1.0, 2]), pd.Series([2.0, 1])) == 0


def test_table_flags_imbalance_and_counts_what_is_missing():
    people = pd.DataFrame(
        {
            "label": [0, 0, 0, 1, 1, 1],
            "age": [30.0, 31, None, 50, 51, 52],
            "sex": ["F", "M", "F", "F", "M", "F"],
        }
    )
    age, sex = balance_table(people)
    assert (age["covariate"], age["is_imbalanced"], age["missing"]) == ("age", True, [1, 0])
    assert sex["negative"] == sex["positive"] == "F 2, M 1"
    assert not sex["is_imbalanced"]


def draw(seed, n=70, through_label=1.0, direct=0.0, is_category=False):
    """A score that follows the label, and a covariate that follows the label too."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n // 2)
    value = through_label * label + rng.normal(size=n)
    score = label + direct * value + rng.normal(size=n)
    covariate = pd.Series(value)
    if is_category:
        covariate = pd.Series(np.where(value > 0.5, "high", "low"))
    return score, covariate, label


@pytest.mark.slow
@pytest.mark.parametrize("is_category", [False, True])
def test_keeps_its_level_where_only_the_label_connects_them(is_category):
    hits = [
        partial_confounder_test(*draw(seed, is_category=is_category), 100, seed) <= 0.05
        for seed in range(100)
    ]
    assert 0 <= np.mean(hits) <= 0.12


@pytest.mark.slow
def test_keeps_its_level_for_skewed_numbers_such_as_motion():
    hits = []
    for seed in range(100):
        score, covariate, label = draw(seed, n=40)
        hits.append(
            partial_confounder_test(score, np.exp(1.2 * covariate), label, 100, seed) <= 0.05
        )
    assert 0 <= np.mean(hits) <= 0.10


def test_order_alone_counts():
    score, covariate, label = draw(1, direct=1.0)
    plain = partial_confounder_test(score, covariate, label, 100, 0)
    assert partial_confounder_test(score, np.exp(covariate), label, 100, 0) == plain


def test_plain_correlation_would_have_rejected_there():
    start = np.arange(70)[None]
    shares = [
        explained_fractions(draw(seed)[0], draw(seed)[1].to_frame().to_numpy(), start)[0]
        for seed in range(20)
    ]
    assert np.mean(shares) > 0.03


def test_shares_are_those_of_a_regression_on_the_design_in_each_order():
    rng = np.random.default_rng(0)
    score, design = rng.normal(size=9), np.eye(3)[rng.integers(0, 3, 9)]  # sums to 1: no full rank
    orders = np.stack([rng.permutation(9) for _ in range(4)])

    shares = explained_fractions(score, design, orders)

    expected = [
        LinearRegression().fit(design[one], score).score(design[one], score) for one in orders
    ]
    np.testing.assert_allclose(shares, expected)
    assert explained_fractions(np.ones(9), design, orders).tolist() == [0.0] * 4


@pytest.mark.parametrize("is_category", [False, True])
def test_direct_dependence_is_found(is_category):
    found = [
        partial_confounder_test(*draw(seed, direct=1.5, is_category=is_category), 100, seed)
        for seed in range(5)
    ]
    assert np.median(found) < 0.05


def moved(seed, direct, n=60):
    """A score that follows motion, and the label itself as strongly as asked for."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n // 2)
    motion = label + rng.normal(size=n)
    return motion + direct * label + rng.normal(size=n), pd.Series(motion), label


@pytest.mark.slow
def test_nothing_is_left_where_the_covariate_is_all_there_is():
    hits = [full_confounder_test(*moved(seed, 0.0), 100, seed) <= 0.05 for seed in range(100)]
    assert 0 <= np.mean(hits) <= 0.12


def test_what_the_covariate_does_not_explain_is_left():
    found = [full_confounder_test(*moved(seed, 2.0), 100, seed) for seed in range(5)]
    assert np.median(found) < 0.05
    score, motion, label = moved(0, 2.0)
    assert full_confounder_test(-score, motion, label, 100, 0) > 0.9


def test_densities_of_categories_are_their_shares():
    covariate, label = pd.Series(["a", "a", "b", "b"]), np.array([0, 0, 0, 1])
    shares = np.exp(conditional_logs(covariate, label))
    np.testing.assert_allclose(shares[0], [2.5 / 4, 0.5 / 2])
    np.testing.assert_allclose(shares[3], [1.5 / 4, 1.5 / 2])


def make_cohort(**columns) -> Cohort:
    scans = tuple(
        Scan(person, person, (), "MNI152", ["HC", "FM"][label])
        for person, label in zip(PEOPLE, LABEL, strict=True)
    )
    table = pd.DataFrame({"participant_id": PEOPLE, "group": [s.label for s in scans]} | columns)
    return Cohort(scans, (), Listing(scans, (), "z", table, Labels("group", "FM", "HC")), None)


def make_predictions(score) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "participant_id": PEOPLE, "scan_id": PEOPLE, "repeat": 0, "fold": np.arange(N) % 4,
            "model": "network", "label": LABEL, "score": score,
        }
    )  # fmt: skip


def as_text(values) -> list[str]:
    return [f"{value:.3f}" for value in values]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(audit, "N_DRAWS", 300)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def run_audit(symptoms, cohort, predictions, model, figures, seed, title="network") -> dict:
    """Audit a model and say what was found, as a study does."""
    participants = read_participants(cohort)
    found = audit_model(participants, predictions, model, figures["auc_ci"][0], seed)
    findings = audit_findings(found, participants, figures, symptoms)
    said = [written(one, {model: title}) for one in findings]
    return found | {
        "findings": [{k: one[k] for k in ("severity", "text", "about")} for one in said]
    }


def red_lines(cohort, score, figures=FIGURES) -> list[str]:
    found = run_audit(["pain"], cohort, make_predictions(score), "network", figures, 0)
    return [line["text"] for line in found["findings"] if line["severity"] == "red"]


def test_motion_that_explains_the_result_is_said_in_one_sentence(rng):
    """Groups that move differently, no effect, and scores of a network that sees motion alone."""
    motion = 0.2 + 0.05 * LABEL + 0.04 * rng.normal(size=N)
    cohort = make_cohort(
        mean_framewise_displacement=as_text(motion),
        share_scrubbed=as_text(motion + 0.05 * rng.normal(size=N)),
        age=as_text(rng.normal(size=N)),
    )
    score = motion + 0.02 * rng.normal(size=N)
    (said,) = red_lines(cohort, score, {"auc": 0.87, "auc_ci": [0.74, 0.96]})
    assert re.fullmatch(
        r"Head motion explains the result: mean_framewise_displacement alone tells the groups "
        r"apart with AUC 0.\d\d \[0.\d\d, 0.\d\d\]; the network reaches 0.87; among people who "
        r"moved alike nothing is left that can be shown \(p = 0.\d+\); its score depends on "
        r"mean_framewise_displacement beyond what the group explains \(partial confounder test, "
        r"p = 0.0\d\d\)\.",
        said,
    )


def test_result_beside_motion_is_not_explained_by_it(rng):
    motion = 0.2 + 0.05 * LABEL + 0.04 * rng.normal(size=N)
    cohort = make_cohort(mean_framewise_displacement=as_text(motion))
    figures = {"auc": 0.85, "auc_ci": [0.75, 0.95]}
    (said,) = red_lines(cohort, 1.5 * LABEL + rng.normal(size=N), figures)
    assert said.startswith("Head motion can explain part of the result: mean_framewise_displacem")
    assert "among people who moved alike its score still tells the groups apart (p = 0.00" in said


@pytest.mark.parametrize("name", ["mean_fd", "FD_Power", "Motion", "meanFD"])
def test_decimal_commas_change_no_sentence(rng, name):
    motion = as_text(0.2 + 0.05 * LABEL + 0.04 * rng.normal(size=N))
    score = np.array(motion, dtype=float) + 0.02 * rng.normal(size=N)
    figures = {"auc": 0.87, "auc_ci": [0.74, 0.96]}
    (said,) = red_lines(make_cohort(**{name: motion}), score, figures)
    assert said.startswith(f"Head motion explains the result: {name} alone tells the groups apart")
    for write in (
        lambda text: text.replace(".", ","),
        lambda text: f"{text} mm",
        lambda text: f"\u00a0{text}\u202f",
    ):
        assert red_lines(make_cohort(**{name: list(map(write, motion))}), score, figures) == [said]


def unseen(**columns) -> list[tuple[str, str]]:
    cohort, score = make_cohort(**columns), np.arange(N) % 7
    found = run_audit(["pain"], cohort, make_predictions(score), "network", FIGURES, 0)
    lines = [(one["severity"], one["text"]) for one in found["findings"]]
    return [one for one in lines if "could not be examined" in one[1]]


def test_usual_confounds_that_cant_be_looked_at_are_named():
    names = [f"drug {k}" for k in range(N)]
    few = [*as_text(np.arange(N) % 5), *[""] * N][: N // 4] + [""] * (N - N // 4)
    assert unseen(medication=names, favourite_colour=names, pain=names) == [
        (
            "amber",
            "Column 'medication' could not be examined as a confound: text with 40 different "
            "values.",
        ),
        (
            "amber",
            "Column 'favourite_colour' could not be examined as a confound: text with 40 different "
            "values.",
        ),
    ]
    assert unseen(FD=names, Age=[""] * N) == [
        ("red", "Column 'FD' could not be examined as a confound: text with 40 different values."),
        ("red", "Column 'Age' could not be examined as a confound: not known for anybody."),
    ]
    assert unseen(age=few) == [
        (
            "red",
            "Column 'age' could not be examined as a confound in full: known in one group only.",
        )
    ]
    rare = [text if k % 4 == 0 else "" for k, text in enumerate(as_text(20 + np.arange(N)))]
    assert unseen(age=rare) == [
        (
            "red",
            "Column 'age' could not be examined as a confound in full: known for 10 of 40 people.",
        )
    ]


def test_every_column_that_cant_be_looked_at_is_said():
    names = [f"drug {k}" for k in range(N)]
    patients = ["" if label == 0 else str(k) for k, label in enumerate(LABEL)]
    odd = [f"{k % 12 + 1:02}/{k % 11 + 1:02}/2021" for k in range(N)]
    assert unseen(
        diet=names, hobby=names, fiq=patients, wpi=patients, visit=odd, pain=names, sort=["a"] * N
    ) == [
        (
            "amber",
            "Columns 'diet', 'hobby' could not be examined as confounds: text with 40 different "
            "values.",
        ),
        (
            "amber",
            "Column 'visit' could not be examined as a confound: dates that can be read day first "
            "or month first; write them as 2021-03-04.",
        ),
        (
            "amber",
            "Columns 'fiq', 'wpi' could not be examined as confounds in full: known in one group "
            "only.",
        ),
    ]


def test_columns_of_names_share_a_line():
    names = [f"name {k}" for k in range(N)]
    cohort = make_cohort(family=names, comments=names, zip_code=names)
    score = make_predictions(np.arange(N) % 7)
    found = run_audit([], cohort, score, "network", FIGURES, 0)
    assert found["findings"] == [
        {
            "severity": "amber",
            "text": "Columns of names and remarks were not examined: comments (text with 40 "
            "different values); zip_code (text with 40 different values).",
            "about": "",
        }
    ]
    assert "family: says who is kept together by folds and permutations" in found["passed_over"]


def test_people_with_scans_of_both_groups_have_no_confounds_examined():
    cohort = make_cohort(age=as_text(np.arange(N)), sex=list("FM" * (N // 2)))
    both = tuple(replace(scan, label="FM") for scan in cohort.scans)
    cohort = replace(cohort, scans=(*cohort.scans, *both))
    found = run_audit([], cohort, make_predictions(LABEL), "network", FIGURES, 0)
    assert [one["text"] for one in found["findings"]] == [
        "Columns 'age', 'sex' could not be examined as confounds: there are people with scans of "
        "both groups."
    ]


def test_scan_date_says_what_the_same_number_says(rng):
    days = 200 * LABEL + rng.integers(0, 150, N)
    dates = [str((pd.Timestamp("2021-03-04") + pd.Timedelta(days=int(d))).date()) for d in days]
    said = [
        red_lines(make_cohort(scan_date=column), LABEL + 0.01 * days)
        for column in (dates, [str(d) for d in days])
    ]
    assert said[0] == said[1]
    assert said[0][0].startswith("scan_date alone tells the groups apart with AUC 1.00")


def test_sentences_name_the_model_that_is_audited(rng):
    age = 40 + 8 * LABEL + 2 * rng.normal(size=N)
    motion = 0.2 + 0.04 * rng.normal(size=N)
    cohort = make_cohort(age=as_text(age), fd=as_text(motion))
    score = make_predictions(age + 60 * motion)
    found = run_audit([], cohort, score, "network", FIGURES, 0, "shrinkage LDA")
    texts = " ".join(one["text"] for one in found["findings"])
    assert "the shrinkage LDA's score depends on fd" in texts
    assert "; the shrinkage LDA reaches 0.90" in texts
    assert "The shrinkage LDA's score depends on age" in texts
    assert "network" not in texts
    assert found["model"] == "network"


def test_look_alikes_are_named_and_counted():
    groups = [
        LookAlikes((f"sub-{k}", f"sub-{k}b"), ("FM", "FM" if k else "HC"), 0.9, 0.2)
        for k in range(7)
    ]
    cohort = replace(make_cohort(), alike=tuple(groups))
    (said,) = red_lines(cohort, LABEL.astype(float))
    assert said.startswith(
        "14 people have maps as alike as those of one person under several names: sub-0 and sub-0b "
        "(r = 0.90; with anybody else at most 0.20); sub-1 and"
    )
    assert "sub-4b" in said
    assert "sub-5" not in said
    assert "; and 2 more such groups, all in metrics.json (6 of one label, which raise" in said
    assert "1 across labels, which lower it)" in said


def test_what_is_the_same_for_everybody_is_no_confound():
    assert unseen(sex=["F"] * N, site=["A"] * N, age=["31"] * N) == []


def test_bold_without_displacement_is_said(rng):
    columns = {"share_scrubbed": as_text(rng.random(N)), "age": as_text(rng.random(N))}
    stored = (SimpleNamespace(series=object()),) * N
    cohort = replace(make_cohort(**columns), stored=stored)
    found = run_audit([], cohort, make_predictions(rng.random(N)), "network", FIGURES, 0)
    said = "Head motion could not be examined: the runs' confounds don't state it."
    assert {"severity": "red", "text": said, "about": "head motion"} in found["findings"]


def test_motion_without_a_result_explains_nothing(rng):
    motion = 0.2 + 0.05 * LABEL + 0.04 * rng.normal(size=N)
    cohort = make_cohort(mean_framewise_displacement=as_text(motion))
    (said,) = red_lines(cohort, rng.normal(size=N), {"auc": 0.52, "auc_ci": [0.35, 0.68]})
    assert said.startswith("Head motion differs between the groups: mean_framewise_displacement al")


def test_motion_that_the_score_follows_within_groups_is_said(rng):
    motion = 0.2 + 0.04 * rng.normal(size=N)
    cohort = make_cohort(mean_framewise_displacement=as_text(motion))
    (said,) = red_lines(cohort, LABEL + 30 * motion + 0.2 * rng.normal(size=N))
    assert said.startswith("Head motion shows in the result: the network's score depends on mean_f")


def test_motion_that_is_alike_is_no_matter(rng):
    cohort = make_cohort(
        mean_framewise_displacement=as_text(0.2 + 0.04 * rng.normal(size=N)),
        share_scrubbed=as_text(np.abs(rng.normal(size=N))),
    )
    assert red_lines(cohort, LABEL + rng.normal(size=N)) == []


def test_other_covariates_keep_their_own_sentences(rng):
    age = 40 + 8 * LABEL + 2 * rng.normal(size=N)
    red = red_lines(make_cohort(age=as_text(age)), age + 0.1 * rng.normal(size=N))
    assert [text[:17] for text in red] == ["age alone tells t", "The network's sco"]


def test_unrelated_covariates_give_no_red(rng):
    cohort = make_cohort(age=as_text(rng.normal(size=N)), sex=list("FM" * (N // 2)))
    found = run_audit(
        ["pain"],
        cohort,
        make_predictions(LABEL + rng.normal(size=N)),
        "network",
        FIGURES,
        0,
    )
    assert not [line for line in found["findings"] if line["severity"] == "red"]
    assert [row["covariate"] for row in found["covariates"]] == ["age", "sex"]


def test_imbalance_alone_is_amber(rng):
    age = 40 + 3 * LABEL + 6 * rng.normal(size=N)
    found = run_audit(
        ["pain"],
        make_cohort(age=as_text(age)),
        make_predictions(rng.normal(size=N)),
        "network",
        FIGURES,
        0,
    )
    assert found["findings"] == [] or {line["severity"] for line in found["findings"]} == {"amber"}


def test_columns_are_passed_over_with_a_reason():
    age = ["<18", *as_text(np.arange(N - 1) + 1)]
    cohort = make_cohort(
        constant=["x"] * N, remark=PEOPLE, age=age, label=["inf", *as_text(LABEL[1:])]
    )
    table = read_participants(cohort).table
    assert list(table) == ["label", "age", "label (column)"]
    assert list(table["label"]) == list(LABEL)
    assert table["age"].isna().sum() == table["label (column)"].isna().sum() == 1
    assert read_participants(cohort).passed_over == [
        "constant: the same for everybody",
        "remark: text with 40 different values",
        "age: 1 values that are no numbers, taken as missing",
        "label: 1 values that are no numbers, taken as missing",
        "participant_id: names the people",
        "group: the groups themselves",
    ]


def test_cells_taken_as_missing_are_named_and_not_counted(rng):
    bdi = [*as_text(np.arange(N - 2) + 1), "-9999", "refused"]
    cohort = make_cohort(bdi=bdi, pain=bdi)
    assert read_participants(cohort).table["bdi"].max() == N - 2
    assert read_participants(cohort).table["bdi"].min() == 1
    found = run_audit(["pain"], cohort, make_predictions(rng.normal(size=N)), "network", FIGURES, 0)
    assert {
        "severity": "amber",
        "text": "Some cells of covariates were taken as missing: bdi (1 values that are no numbers "
        "and 1 values that look like codes for missing ones (-9999)).",
        "about": "",
    } in found["findings"]


def test_imbalance_is_said_though_another_red_line_holds_the_name(rng):
    cohort = make_cohort(
        age=as_text(40 + 8 * LABEL + 10 * rng.normal(size=N)),
        language=as_text(5.0 * LABEL + rng.random(N)),
    )
    found = run_audit([], cohort, make_predictions(rng.normal(size=N)), "network", FIGURES, 0)
    assert any(line["text"].startswith("The groups differ in age") for line in found["findings"])


def test_people_table_leaves_out_what_says_nothing():
    cohort = make_cohort(constant=["x"] * N, remark=PEOPLE, age=as_text(np.arange(N)))
    assert list(read_participants(cohort).table) == ["label", "age"]


def test_scores_are_comparable_between_folds():
    score = np.arange(N) + 100 * (np.arange(N) % 4)
    means = participant_scores(make_predictions(score.astype(float)), "network")
    assert abs(np.corrcoef(means.reindex(PEOPLE), np.arange(N))[0, 1]) > 0.99


def test_study_without_covariates_has_nothing_to_audit():
    found = run_audit(
        ["pain"],
        make_cohort(),
        make_predictions(LABEL.astype(float)),
        "network",
        FIGURES,
        0,
    )
    assert found["covariates"] == found["findings"] == []


def test_symptoms_are_no_confounds():
    cohort = make_cohort(pain=as_text(10.0 * LABEL + np.arange(N) % 3))
    found = run_audit(
        ["pain"], cohort, make_predictions(LABEL.astype(float)), "network", FIGURES, 0
    )
    assert found["covariates"][0]["auc"] == 1.0
    assert found["findings"] == []
