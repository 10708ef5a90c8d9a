import pytest

from fmnet.signature.judge import (
    Check,
    check_above_chance,
    check_p,
    is_believed,
    not_examined,
)

FIGURES = {"auc": 0.8, "auc_ci": [0.7, 0.9]}


def test_the_corrected_figure_decides_where_a_model_was_chosen():
    exported = {"among": ["network", "linear_svm"], "auc_corrected": 0.6}
    low = check_above_chance(exported | {"auc_corrected_ci": [0.49, 0.7]}, FIGURES)
    assert (low.outcome, low.observed) == ("failed", 0.6)
    high = check_above_chance(exported | {"auc_corrected_ci": [0.51, 0.7]}, FIGURES)
    assert (high.outcome, high.ci) == ("passed", (0.51, 0.7))


def test_a_permutation_test_has_its_say():
    exported = {"among": ["network"], "p": 0.2}
    assert check_above_chance(exported, FIGURES, 99).outcome == "failed"
    few = check_above_chance(exported, FIGURES, 10)  # of which no p is small
    assert (few.outcome, few.p) == ("passed", None)
    assert check_above_chance({"among": ["network"]}, FIGURES).outcome == "passed"


@pytest.mark.parametrize(
    ("above", "halves", "other", "believed"),
    [
        (0.01, 0.01, 0.01, True),
        (0.01, 0.01, None, True),
        (0.01, 0.01, 0.3, False),
        (0.01, 0.3, 0.01, False),
        (0.3, 0.01, 0.01, False),
        (0.01, None, 0.01, False),
    ],
)
def test_nothing_is_drawn_without_what_has_to_hold(above, halves, other, believed):
    def ask(name, p):
        return not_examined(name, "too few") if p is None else check_p(name, 0.4, 0.0, p)

    checks = [ask("above_chance", above), ask("halves", halves), ask("deletion", other)]
    assert is_believed(checks) is believed


def test_facts_are_plain():
    found = Check("halves", True, 0.4, 0.0, 0.01, (0.1, 0.7)).as_facts()
    assert found["ci"] == [0.1, 0.7]
    assert (found["name"], found["outcome"]) == ("halves", "passed")
