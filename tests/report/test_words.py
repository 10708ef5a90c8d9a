import pytest

from fmnet.report.words import MOTION_ALONE, NO_EFFECT, control


@pytest.mark.parametrize(
    ("cohort", "said"),
    [
        ({"coupling": 0.0, "task_effect": 0.0, "motion_effect": 0.0}, NO_EFFECT),
        ({"coupling": 0.0, "task_effect": 0.0, "motion_effect": 2.0}, MOTION_ALONE),
        ({"coupling": 0.3, "task_effect": 0.0, "motion_effect": 2.0}, ""),
        ({"coupling": 0.0, "task_effect": 1.0, "motion_effect": 0.0}, ""),
        ({"effect_size": 0.0}, NO_EFFECT),
        ({"amplitude": 0.0}, NO_EFFECT),
        ({"effect_size": 1.0}, ""),
        ({}, ""),
    ],
)
def test_cohorts_without_an_effect_are_controls(cohort, said):
    assert control({"cohort": cohort}) == said
