import pytest
from brain_fixtures import check, study_facts

from fmnet.report.signature_words import (
    CHECKS,
    agreement_rows,
    check_rows,
    doubts,
    forced_sentence,
    notes,
    signature_verdict,
)
from fmnet.signature.judge import CheckName


def test_stable_signature_is_told_with_the_agreement_of_halves():
    assert signature_verdict(study_facts()) == (
        "There is a stable signature of the linear SVM: 2 checks hold, maps of two halves of the "
        "cohort agree (r = 0.31, p = 0.010)."
    )
    assert forced_sentence(study_facts()) == ""


def test_no_signature_is_told_with_what_failed():
    said = signature_verdict(study_facts(is_stable=False))
    assert said.startswith("No stable signature: the model is not above chance (AUC 0.52 [0.40, ")
    assert "two halves of the cohort don't agree beyond their null (r = 0.02, p = 0.400)" in said
    assert said.endswith("No map is drawn.")


def test_forced_maps_carry_the_first_reason():
    facts = study_facts(is_stable=False, is_forced=True)
    assert signature_verdict(facts).endswith("as signature.force=true asked for.")
    assert forced_sentence(facts) == (
        "No stable signature: the model is not above chance (AUC 0.52 [0.40, 0.64], p = 0.410), "
        "and 1 more reason"
    )


def test_what_a_signature_needs_and_nobody_examined_is_a_doubt():
    facts = study_facts() | {"is_drawn": False}
    facts["checks"]["halves"] = check("halves", None, reason="3 people, 4 are needed")
    assert doubts(facts) == [
        "not examined: do other people give the same map? (3 people, 4 are needed)"
    ]
    # others may be left out
    assert doubts(study_facts()) == []


def test_every_check_has_words():
    assert set(CHECKS) == set(CheckName.__args__)


def test_checks_are_listed_with_figure_and_null():
    above, halves, model = check_rows(study_facts())
    assert above["figure"] == "AUC 0.74 [0.60, 0.85], p = 0.010"
    assert above["expected"] == "0.50 by chance"
    assert (above["outcome"], halves["outcome"], model["outcome"]) == (
        "holds", "holds", "not examined",
    )  # fmt: skip
    assert halves["expected"] == "0.00, 95 % below 0.09, with shuffled labels"
    assert (model["figure"], model["sentence"]) == ("", "It has none.")
    assert check_rows(study_facts(is_stable=False))[0]["sentence"].endswith("shows nothing.")


def test_agreement_is_listed_for_what_was_compared():
    halves, folds = agreement_rows(study_facts())
    assert halves["of"] == "halves of the cohort (10 splits)"
    assert halves["voxel_r"] == "0.31, p = 0.010 (0.00, 95 % below 0.09, with shuffled labels)"
    assert halves["icc"] == ""
    assert (folds["of"], folds["dice"]) == ("folds (5 maps)", "0.50")
    facts = {"halves": {"reason": "too few people"}, "folds": {"reason": "no weights"}}
    assert agreement_rows(facts) == [
        {"of": "halves of the cohort", "reason": "too few people"},
        {"of": "folds", "reason": "no weights"},
    ]


@pytest.mark.parametrize("is_drawn", [True, False])
def test_notes_say_what_survives_where_maps_are_drawn(is_drawn):
    facts = study_facts(is_stable=is_drawn)
    said = notes(facts)
    assert any("7 voxels survive family-wise" in line for line in said) == is_drawn
    facts["z"]["n_voxels"]["fwe"] = 0
    assert any("No place survives" in line for line in notes(facts)) == is_drawn
    facts["z"]["n_permutations"] = 18
    assert not any("No place survives" in line for line in notes(facts))
    assert any("nothing could survive" in line for line in notes(facts)) == is_drawn


def test_notes_on_forced_maps_do_not_say_that_other_people_give_the_same():
    for forced in (False, True):
        facts = study_facts(is_stable=not forced, is_forced=forced)
        facts["z"] = study_facts()["z"]
        facts["z"]["n_voxels"]["fwe"] = 0
        (said,) = (line for line in notes(facts) if "No place survives" in line)
        assert ("comes out again" in said) != forced


def test_notes_say_how_much_of_the_score_maps_show():
    said = notes(study_facts() | {"linear_fraction": 0.714, "surrogate": {"r2": 0.826}})
    assert any("71 % of the score is linear" in line for line in said)
    assert any("R2 = 0.83" in line for line in said)
    assert not any("linear" in line for line in notes(study_facts()))
