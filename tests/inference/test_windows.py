from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.inference.preparation import window_starts


@given(window=st.integers(1, 60), more=st.integers(0, 300))
def test_as_few_windows_as_cover_the_run_are_spread_evenly(window, more):
    n_volumes = window + more
    starts = window_starts(n_volumes, window)
    assert {start + k for start in starts for k in range(window)} == set(range(n_volumes))
    assert starts[0] == 0
    assert starts[-1] == n_volumes - window
    assert (len(starts) - 1) * window < n_volumes
    steps = [after - before for before, after in pairwise(starts)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("n_volumes", [1, 137])
def test_no_window_is_the_whole_run(n_volumes):
    assert window_starts(n_volumes, 0) == [0]


def test_the_last_window_is_not_a_shorter_one():
    assert window_starts(101, 50) == [0, 25, 51]


@pytest.mark.parametrize(("n_volumes", "window"), [(49, 50), (0, 0)])
def test_run_shorter_than_a_window_is_refused(n_volumes, window):
    with pytest.raises(ValueError, match=f"a run of {n_volumes} volumes holds no window"):
        window_starts(n_volumes, window)
