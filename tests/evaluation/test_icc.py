import numpy as np
import pytest

from fmnet.evaluation.icc import (
    icc_agreement,
    icc_consistency,
    icc_one_way,
    lengthened,
    mean_squares,
    needed,
)

#: Six people seen by four judges: table 2 of Shrout and Fleiss (1979).
PUBLISHED = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def draw(rng, n, k, between, within, shift=0.0):
    """People of known variance between and within them, in sessions that differ by a shift."""
    people = rng.normal(0, np.sqrt(between), (n, 1))
    return people + rng.normal(0, np.sqrt(within), (n, k)) + shift * rng.normal(size=k)


def test_published_table():
    squares = mean_squares(PUBLISHED)
    found = [squares.people, squares.sessions, squares.error]
    assert np.round(found, 2) == pytest.approx([11.24, 32.49, 1.02])
    agreement, consistency = icc_agreement(squares), icc_consistency(squares)
    one_way = icc_one_way(list(PUBLISHED))
    assert [round(one.value, 2) for one in (one_way, agreement, consistency)] == [0.17, 0.29, 0.71]
    # as the R package psych prints them
    ends = [(round(one.low, 2), round(one.high, 2)) for one in (one_way, agreement, consistency)]
    assert ends == [(-0.13, 0.72), (0.02, 0.76), (0.34, 0.95)]


def test_intervals_hold_the_planted_reliability():
    rng, held = np.random.default_rng(0), np.zeros(3)
    for _ in range(400):
        values = draw(rng, 25, 3, 0.6, 0.4)
        squares = mean_squares(values)
        every = icc_one_way(list(values)), icc_agreement(squares), icc_consistency(squares)
        held += [one.low <= 0.6 <= one.high for one in every]
    assert (np.abs(held / 400 - 0.95) < 0.035).all()


def test_shifts_of_all_count_for_agreement_alone():
    values = draw(np.random.default_rng(1), 40, 2, 0.8, 0.2)
    shifted = values + np.array([0.0, 2.0])
    before, after = mean_squares(values), mean_squares(shifted)
    assert after.consistency() == pytest.approx(before.consistency())
    assert after.agreement() < before.agreement() - 0.3


def test_groups_far_apart_make_people_easy_to_tell():
    values = draw(np.random.default_rng(2), 40, 2, 0.5, 0.5)
    groups = ["FM"] * 20 + ["HC"] * 20
    values[:20] += 5
    apart, within = mean_squares(values), mean_squares(values, groups)
    assert apart.consistency() > 0.9
    assert within.consistency() == pytest.approx(0.5, abs=0.2)
    assert within.df_people == 38


def test_voxels_are_told_apart():
    rng = np.random.default_rng(3)
    maps = np.stack([draw(rng, 30, 2, one, 1 - one) for one in (0.1, 0.9)], axis=2)
    noise, same = mean_squares(maps).consistency()
    assert noise < 0.45
    assert same > 0.8
    assert mean_squares(maps[:, :, 1]).consistency() == pytest.approx(same)


def test_different_numbers_of_scans():
    rng = np.random.default_rng(4)
    people = rng.normal(0, np.sqrt(0.7), 200)
    values = [rng.normal(one, np.sqrt(0.3), rng.integers(1, 5)) for one in people]
    found = icc_one_way(values)
    assert found.low < 0.7 < found.high
    assert found.value == pytest.approx(0.7, abs=0.08)


def test_lengthening_as_spearman_and_brown():
    assert lengthened(0.5, 2) == pytest.approx(2 / 3)
    icc = icc_consistency(mean_squares(PUBLISHED))
    asked = needed(icc, 0.9)
    assert lengthened(icc.value, asked["factor"]) == pytest.approx(0.9)
    assert lengthened(icc.low, asked["high"]) == pytest.approx(0.9)
    assert asked["low"] < asked["factor"] < asked["high"]
    assert needed(icc_one_way(list(PUBLISHED)), 0.75)["high"] is None


def test_one_session_is_refused():
    with pytest.raises(ValueError, match="6 people in 1 groups and 1 sessions"):
        mean_squares(PUBLISHED[:, :1])
