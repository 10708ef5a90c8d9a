import numpy as np
import pandas as pd
import pytest

from fmnet.evaluation.retest import (
    retest_of_maps,
    retest_of_scores,
    retest_of_weights,
    retest_sentences,
    sessions_of,
)


def build_table(icc=0.6, n=40, k=2, seed=0, n_repeats=2, gap=0.0, shift=0.0) -> pd.DataFrame:
    """Out-of-fold scores of a known ICC; each fold's model has a scale of its own."""
    rng = np.random.default_rng(seed)
    person = rng.normal(0, np.sqrt(icc), n) + gap * (np.arange(n) % 2)
    value = person[:, None] + rng.normal(0, np.sqrt(1 - icc), (n, k)) + shift * np.arange(k)
    rows = []
    for repeat in range(n_repeats):
        fold = rng.permutation(np.arange(n) % 4)
        scale, middle = rng.uniform(0.1, 10, 4), rng.normal(0, 20, 4)
        for one in range(n):
            for session in range(k):
                score = middle[fold[one]] + scale[fold[one]] * value[one, session]
                name = f"sub-{one:02}"
                row = {"participant_id": name, "scan_id": f"{name}_ses-{session + 1}"}
                row |= {"repeat": repeat, "fold": fold[one], "score": score, "label": one % 2}
                rows.append(row)
    return pd.DataFrame(rows)


def test_planted_reliability_lies_within_the_interval_whatever_the_scales_of_folds():
    held = []
    for seed in range(25):
        facts = retest_of_scores(build_table(seed=seed))
        held.append(facts["consistency"]["low"] <= 0.6 <= facts["consistency"]["high"])
    assert np.mean(held) > 0.88
    assert facts["n_people"] == 40
    assert facts["sessions"] == ["1", "2"]
    assert sum(facts["variance"].values()) == pytest.approx(1)


def test_a_difference_of_groups_is_taken_out():
    facts = retest_of_scores(build_table(icc=0.5, gap=6.0), group="label")
    assert facts["agreement"]["value"] > 0.85
    assert facts["within_groups"]["agreement"]["value"] == pytest.approx(0.5, abs=0.25)


def test_a_shift_of_all_is_no_agreement():
    facts = retest_of_scores(build_table(n=80, shift=2.0))
    assert facts["consistency"]["value"] == pytest.approx(0.6, abs=0.15)
    # 2 standard deviations between two sessions are a variance of 2
    assert facts["variance"]["sessions"] == pytest.approx(2 / 3, abs=0.1)
    assert facts["agreement"]["value"] < 0.35
    assert facts["standard_error_of_measurement"] == pytest.approx(np.sqrt(2.4 / 3), abs=0.05)


def test_reliability_is_not_too_small_in_small_folds():
    values = [retest_of_scores(build_table(seed=seed, n=24))["consistency"] for seed in range(25)]
    assert np.mean([one["value"] for one in values]) == pytest.approx(0.6, abs=0.07)


def test_people_without_all_sessions_are_named():
    table = build_table(k=3)
    table = table[~((table["participant_id"] == "sub-03") & table["scan_id"].str.endswith("ses-2"))]
    facts = retest_of_scores(table)
    assert facts["left_out"] == ["sub-03"]
    assert (facts["n_people"], facts["n_sessions"]) == (39, 3)
    assert facts["one_way"]["kind"] == "ICC(1,1)"
    assert retest_sentences(facts)[-1] == "People without all of these sessions are not counted: 1."


def test_too_few_people_are_refused_plainly():
    facts = retest_of_scores(build_table(n=4))
    assert "4 people have been scanned in the same 2 session(s)" in facts["reason"]
    assert "agreement" not in facts
    (said,) = retest_sentences(facts)
    assert said.startswith("How well scores repeat is not told: 4 people")
    assert retest_of_scores(build_table().assign(score=1.0))["reason"] == "everybody scores alike"


def test_sessions_are_read_off_names_or_counted():
    rows = pd.DataFrame(
        {
            "participant_id": ["a", "a", "b", "b"],
            "scan_id": ["a_ses-pre_run-1", "a_ses-post_run-1", "b_ses-pre", "b_ses-post"],
        }
    )
    assert list(sessions_of(rows).values()) == ["pre", "post", "pre", "post"]
    rows["scan_id"] = ["a_run-10", "a_run-9", "b_run-1", "b_run-2"]
    assert sessions_of(rows) == {"a_run-10": "2", "a_run-9": "1", "b_run-1": "1", "b_run-2": "2"}


def test_sentences_tell_sessions_or_minutes():
    table = build_table(icc=0.5, n=200)
    said = retest_sentences(retest_of_scores(table))
    assert said[0].startswith(
        "In 200 people scanned in 2 sessions the score repeated with ICC(2,1)"
    )
    facts = retest_of_scores(table, minutes=6.0)
    factor = facts["needed"]["0.75"]["factor"]
    assert factor == pytest.approx(3, abs=0.8)
    assert f"would take {factor * 6:.0f} minutes of scanning" in retest_sentences(facts)[1]


def test_weights_learned_from_either_session(rng):
    first, noise = rng.normal(size=(2, 500))
    same = retest_of_weights(np.stack([first, first + 0.1 * noise]))
    other = retest_of_weights(np.stack([first, noise]))
    assert min(same.values()) > 0.98
    assert max(map(abs, other.values())) < 0.15


def test_maps_are_summed_up_and_gaps_left_out(rng):
    people = rng.normal(size=(20, 1, 7))
    maps = people + rng.normal(size=(20, 2, 7)) * np.array([0.1, 0.1, 0.1, 0.1, 9, 9, 9])
    maps[3, 1, 6] = np.nan
    found, facts = retest_of_maps(maps)
    assert np.isnan(found[6])
    assert (found[:4] > 0.9).all()
    assert facts["n_voxels"] == 6
    assert facts["excellent"] == pytest.approx(4 / 6)
    parts = ("poor", "fair", "good", "excellent")
    assert sum(facts[name] for name in parts) == pytest.approx(1)
