import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.crossval.reruns import LearningCurvePlan, thin_fold
from fmnet.data.folds import Fold
from fmnet.errors import ConfigError

PEOPLE = tuple(f"sub-{k:02}" for k in range(48))
LABEL_OF = {person: k % 2 for k, person in enumerate(PEOPLE)}
FOLD = Fold(1, 2, PEOPLE[:36], PEOPLE[36:], (PEOPLE[:12], PEOPLE[12:24], PEOPLE[24:36]))


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(0, 50))
def test_smaller_shares_are_parts_of_larger_ones(one, other, seed):
    small, large = (thin_fold(FOLD, LABEL_OF, share, seed) for share in sorted([one, other]))
    assert set(small.train) <= set(large.train) <= set(FOLD.train)
    assert small.test == large.test == FOLD.test
    for part in small.validation:
        assert sum(LABEL_OF[person] for person in part) * 2 == len(part) >= 4


def test_half_of_the_people_are_half_of_each_class_in_each_inner_fold():
    thin = thin_fold(FOLD, LABEL_OF, 0.5, 0)
    assert [len(part) for part in thin.validation] == [6, 6, 6]
    assert sum(LABEL_OF[person] for person in thin.train) == 9


def test_shares_that_rounding_in_each_inner_fold_would_make_equal_stay_apart():
    people = tuple(f"sub-{k:02}" for k in range(24))
    labels = {person: k % 2 for k, person in enumerate(people)}
    fold = Fold(0, 0, people, ("x",), (people[:8], people[8:16], people[16:]))
    sizes = [len(thin_fold(fold, labels, share, 0).train) for share in (0.4, 0.6, 0.8)]
    assert sizes == [12, 14, 20]


def test_other_repeats_leave_out_others():
    other = Fold(2, 2, FOLD.train, FOLD.test, FOLD.validation)
    assert thin_fold(FOLD, LABEL_OF, 0.5, 0).train != thin_fold(other, LABEL_OF, 0.5, 0).train


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.5], [0.0, 0.5]])
def test_a_curve_needs_different_shares(shares):
    with pytest.raises(ConfigError, match=r"learning_curve\.shares: found"):
        LearningCurvePlan(shares)
