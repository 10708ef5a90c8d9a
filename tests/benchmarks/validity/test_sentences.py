import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.validity.measures import CANDIDATES
from benchmarks.validity.null_studies import Sentences, make_up_study
from benchmarks.validity.people import draw_cohort
from benchmarks.validity.sentences import (
    ALARM,
    AUDITED,
    EXPORTED,
    Study,
    claims,
    conclude,
    rates,
    read_study,
    sentences,
    shape,
)


@pytest.fixture(scope="module")
def study():
    return make_up_study(draw_cohort(12, 12, 1, 0.0, (3, 1)), CANDIDATES, 20, (3, 1))


@pytest.fixture(scope="module")
def metrics(study):
    return conclude(study, is_audited=False)


def said(verdict, *findings):
    found = [{"severity": severity, "text": text} for severity, text in findings]
    return {"verdict": verdict, "findings": found, "exported": {"auc_corrected_ci": [0.5, 0.8]}}


@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        (
            "Linear SVM, which export takes by default: AUC 0.70 [0.51, 0.85], or 0.66 "
            "[0.50, 0.80] corrected for its having been chosen among 4 models, above chance "
            "(first repeat: AUC 0.70 against the largest of the 4 in each of 20 permutations, "
            "p = 0.048).",
            "exported model above chance",
        ),
        (
            "Network: AUC 0.70 [0.51, 0.85], above chance (first repeat: AUC 0.70 against 20 "
            "permutations, p = 0.048).",
            "exported model above chance",
        ),
        (
            "By itself, as if it alone had been planned, the network is above chance (p = 0.048).",
            "network above chance by itself",
        ),
        (
            "Network by itself, as if it alone had been planned: AUC 0.66 [0.5, 0.8], above chance "
            "(first repeat: AUC 0.66 against 20 permutations, p = 0.048).",
            "network above chance by itself",
        ),
        (
            "On these folds the network is better than the linear SVM (0.51 [0.4, 0.6]): AUC "
            "difference +0.20 [+0.02, +0.38] (0.71 against 0.51), corrected p = 0.030.",
            "better than a linear model",
        ),
        ("2 warnings about confounds below (age).", "warnings about confounds"),
        (
            "The network puts new people the wrong way round, with an interval wholly below 0.5: "
            "check whether people who belong together (relatives, one person twice) lie apart.",
            "interval wholly below .5",
        ),
        (
            "None of this holds if some of 4 people are one under several names, see below.",
            "the same people twice",
        ),
    ],
)
def test_claims_are_read_off_the_verdict(sentence, claim):
    assert [name for name, is_made in claims(said(sentence)).items() if is_made] == [claim]


@pytest.mark.parametrize(("low", "is_above"), [(0.5, False), (0.51, True)])
def test_interval_above_chance_is_a_claim(low, is_above):
    exported = {"exported": {"auc_corrected_ci": [low, 0.8]}}
    assert claims(said("Nothing.") | exported)[EXPORTED] == is_above


def test_claims_are_read_off_the_findings():
    found = claims(
        said(
            "Network: AUC 0.52 [0.40, 0.60], not distinguishable from chance (first repeat: AUC "
            "0.52 against 20 permutations, p = 0.400). Its interval reaches 0.5 or less, so that "
            "it takes allow_uninformative=true.",
            ("red", "Head motion explains the result: mean_fd alone tells the groups apart."),
            ("amber", "The network's score depends on age beyond what the group explains (p)."),
            ("red", "age alone tells the groups apart with AUC 0.70 [0.60, 0.80]; the network"),
        )
    )
    assert {name for name, is_made in found.items() if is_made} == {
        "head motion explains the result",
        "head motion, anything",
        "score depends on a covariate",
        "a covariate reaches the network",
        ALARM,
    }


def test_study_says_the_same_after_it_was_written_and_read(study, metrics, tmp_path):
    study.write(tmp_path / "study.json.gz")
    again = read_study(tmp_path / "study.json.gz")
    assert again.about == json.loads(json.dumps(study.about))
    pd.testing.assert_frame_equal(again.participants, study.participants)
    assert conclude(again, is_audited=False)["verdict"] == metrics["verdict"]


def test_says_what_a_study_says(finished, monkeypatch):
    """Only titles differ, and what was trained on everybody, which isn't kept."""
    run = finished.run_dir
    expected = json.loads((run / "metrics.json").read_text())
    participants = pd.read_csv(run / "participants.tsv", sep="\t", dtype=str).fillna("")
    predictions = pd.read_csv(run / "predictions.tsv", sep="\t")
    study = Study(predictions, pd.DataFrame(), participants, {})
    audits = {expected[key]["model"]: expected[key] for key in expected if key.startswith("audit")}
    # which takes long, and is called in the same way
    monkeypatch.setattr("fmnet.evaluation.evaluate.audit_model", lambda *args: audits[args[2]])
    monkeypatch.setattr("benchmarks.validity.sentences.SYMPTOMS", ())  # as in that study
    found = conclude(study)
    assert found["models"]["network"]["auc_ci"] == pytest.approx(
        expected["models"]["network"]["auc_ci"]
    )
    assert found["exported"]["model"] == expected["exported"]["model"]
    assert [one["severity"] for one in found["findings"]] == [
        one["severity"] for one in expected["findings"]
    ]
    title = expected["titles"]["network"]
    capital = title[0].upper() + title[1:]
    plain = [
        shape(one.replace(title, "network").replace(capital, "Network"))
        for one in sentences(expected)
    ]
    left_out = {one for one in plain if "final" in one}
    assert {shape(one) for one in sentences(found)} == set(plain) - left_out


def test_sentences_of_many_studies_are_counted_without_their_numbers():
    assert shape("AUC -0.52 [+0.40, 0.6], 30 people, 95 %") == "AUC # [#, #], # people, # %"


def test_rate_has_its_exact_interval():
    table = pd.DataFrame({"kind": "none", "claim": "better", "is_made": [1, 1, *[0] * 58]})
    (found,) = rates(table).to_dict("records")
    assert found["times"] == 2
    assert (found["low"], found["high"]) == pytest.approx((0.00407, 0.11536), abs=1e-4)


def test_what_needs_an_audit_is_not_counted_without_one():
    rows = Sentences(n_permutations=1, n=20, n_audited=0).measure((0.5,), (0, 1))
    named = {row["claim"] for row in rows}
    assert not named & {*AUDITED, ALARM}
    assert {row["kind"] for row in rows} == {"no effect"}
    rows = Sentences(n_permutations=1, n=20).measure((0.75,), (0, 1))
    assert [row["claim"] for row in rows] == [
        "better than a linear model",
        "worse than a linear model",
    ]


def test_permuted_labels_leave_nothing_to_find():
    people = draw_cohort(15, 15, 1, 1.5, (8,))
    found = make_up_study(people, {"network": CANDIDATES["network"]}, 20, (8,))
    assert found.null["network"].mean() == pytest.approx(0.5, abs=0.1)
    own = found.predictions[found.predictions["model"] == "network"]
    assert np.corrcoef(own["label"], own["score"])[0, 1] > 0.7
