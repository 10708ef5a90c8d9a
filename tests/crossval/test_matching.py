import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fmnet.crossval.reruns import CALIPER, match_pairs


def people_of(values, labels):
    index = [f"sub-{k}" for k in range(len(values))]
    return pd.DataFrame({"label": labels, "fd": values}, index=index)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=12),
    st.lists(st.floats(0, 1), min_size=3, max_size=12),
)
def test_pairs_are_close_and_nobody_is_in_two(negative, positive):
    people = people_of([*negative, *positive], [0] * len(negative) + [1] * len(positive))
    pairs = match_pairs(people, "fd")
    members = [person for pair in pairs for person in pair]
    assert len(set(members)) == len(members)
    spread = np.sqrt(np.mean([np.var(group, ddof=1) for group in (negative, positive)]))
    for one, other in pairs:
        assert people.at[one, "label"] == 0
        assert people.at[other, "label"] == 1
        assert abs(people.at[one, "fd"] - people.at[other, "fd"]) <= CALIPER * spread + 1e-12


def test_more_pairs_are_better_than_closer_ones():
    # The closest pair, 0.20 with 0.21, would leave the two others without anybody.
    people = people_of([0.10, 0.20, 3.0, 0.21, 0.31, 3.0], [0, 0, 0, 1, 1, 1])
    assert len(match_pairs(people, "fd")) == 3


def test_groups_that_differ_have_few_pairs():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    people = people_of(rng.normal(size=40) + 2 * labels, labels)
    pairs = match_pairs(people, "fd")
    assert 0 < len(pairs) < 15
    one, other = (people.loc[[pair[k] for pair in pairs], "fd"].mean() for k in (0, 1))
    assert abs(one - other) < 0.2


def test_people_without_a_value_are_in_no_pair():
    people = people_of([0.1, np.nan, 0.2, 0.1, 0.2, np.nan], [0, 0, 0, 1, 1, 1])
    members = {person for pair in match_pairs(people, "fd") for person in pair}
    assert members == {"sub-0", "sub-2", "sub-3", "sub-4"}
