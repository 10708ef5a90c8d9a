import re

import numpy as np
import pytest

from fmnet.inference.card_charts import (
    LOWERS,
    RAISES,
    draw_effect,
    draw_limits,
    draw_probability,
    draw_scores,
)


def test_every_person_is_a_dot_and_the_scan_stands_where_its_score_is():
    groups = [("FM", np.array([0.5, 0.5, 1.0])), ("HC", np.array([-1.0]))]
    picture = draw_scores(groups, 3.0)
    dots = [tuple(map(float, one)) for one in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)]
    assert len(set(dots)) == 4
    own = float(re.search(r'class="own" d="M([\d.]+) ', picture)[1])
    assert own > max(x for x, _ in dots)
    assert "this scan 3<" in picture
    assert 'aria-label="Scores by group, FM: 3 dots; HC: 1 dots. This scan: 3.' in picture


def test_scores_that_are_all_one_are_drawn():
    assert draw_scores([("A", np.zeros(2)), ("B", np.zeros(1))], 0.0).count("<circle") == 3


def test_effect_lies_left_or_right_of_the_middle_by_its_sign():
    def tip(effect):
        picture = draw_effect(effect, [(-0.1, 0.0, 0.2)], 1.0, "words")
        return float(re.search(r"(\d+\.\d),5 ", picture)[1]), picture

    (left, lower), (right, raised) = tip(-0.5), tip(0.5)
    assert (left, right) == (54, 146)
    assert f"rgb{LOWERS}" in lower
    assert f"rgb{RAISES}" in raised


def test_score_far_from_everybody_leaves_room_for_them():
    groups = [("FM", np.array([0.0, 1.0])), ("HC", np.array([-1.0]))]
    picture = draw_scores(groups, 1e5)
    dots = [float(x) for x in re.findall(r'cx="([\d.]+)"', picture)]
    assert max(dots) - min(dots) > 200
    assert "this scan 100000, beyond this axis<" in picture
    assert "beyond" not in draw_scores(groups, 2.0)


def test_stretches_of_scores_lie_where_they_say_and_are_named():
    groups = [("FM", np.array([0.0, 10.0])), ("HC", np.array([0.0, 10.0]))]
    zones = [(-np.inf, 2.5, "HC alone"), (2.5, 7.5, "both"), (7.5, np.inf, "FM alone")]
    picture = draw_scores(groups, 5.0, zones)
    found = re.findall(r'<rect class="range\d" x="([\d.]+)"[^>]*width="([\d.]+)"', picture)
    (first, wide), (second, middle), (third, last) = [tuple(map(float, one)) for one in found]
    assert first + wide == pytest.approx(second, abs=0.2)
    assert second + middle == pytest.approx(third, abs=0.2)
    assert middle == pytest.approx((wide + middle + last) * 5 / 11.2, rel=0.01)
    assert ">both<" in picture
    without = draw_scores(groups, 5.0, [(-np.inf, 3, "a"), (3, 3, "none"), (3, np.inf, "b")])
    assert ">none<" not in without


def test_new_scans_are_rings():
    groups = [("FM", np.zeros(3)), ("new", np.ones(2))]
    picture = draw_scores(groups, None, is_last_new=True)
    assert picture.count('class="dot new"') == 2
    assert picture.count('class="dot"') == 3
    assert "this scan" not in picture


def test_probability_is_a_bar_beside_the_base_rate():
    picture = draw_probability(0.5, (0.25, 0.75), 0.1, "FM")
    start, width = map(
        float, re.search(r'range0" x="([\d.]+)".*? width="([\d.]+)"', picture).groups()
    )
    assert (start, width) == (160, 280)
    assert float(re.search(r'dashed" d="M([\d.]+)', picture)[1]) == 76
    assert "interval 25 to 75 %; before the scan 10 %" in picture
    assert "range0" not in draw_probability(0.5, None, None, "FM")


@pytest.mark.parametrize(
    ("value", "low", "high", "is_inside"),
    [(0.5, 0.1, None, True), (-3, 0.1, None, False), (0.1, None, 0.2, True), (9, 1, 2, False),
     (1.5, 1, 2, True), (0.4, None, 0.2, False), (0, 0, 0, True)],
)  # fmt: skip
def test_measure_lies_within_its_limits_or_outside(value, low, high, is_inside):
    picture = draw_limits(value, low, high, is_inside)
    start, width = map(float, re.search(r'x="([\d.]+)".*? width="([\d.]+)"', picture).groups())
    tip = float(re.search(r"(\d+\.\d),6 ", picture)[1])
    assert (start - 0.1 <= tip <= start + width + 0.1) == is_inside
    assert ("outside" in picture) != is_inside


def test_measure_without_limits_has_no_picture():
    assert draw_limits(1.0, None, None, True) == ""
    assert draw_limits(float("nan"), 0, 1, False) == ""
