import numpy as np
import pytest

from fmnet.targets.shrinkage import SLOPES, believed_slope, person_weights


def normal(slope, error):
    return -(((SLOPES - slope) / error) ** 2) / 2


@pytest.mark.parametrize(
    ("slope", "least", "most"), [(0.2, 0.0, 0.1), (1.0, 0.6, 0.95), (3, 2.7, 3)]
)
def test_weak_slopes_are_shrunken_more(slope, least, most):
    assert least <= believed_slope(normal(slope, 0.25)) <= most


def test_slopes_below_0_are_0():
    assert believed_slope(normal(-0.5, 0.3)) == 0
    assert believed_slope(np.zeros(len(SLOPES))) == pytest.approx(0, abs=1e-9)


def test_slopes_of_any_size_can_be_tried():
    slopes = 40 + np.linspace(-1, 1, 99)
    found = believed_slope(-(((slopes - 40) / 0.1) ** 2) / 2, slopes)
    assert found == pytest.approx(40, abs=0.2)


def test_people_weigh_1():
    assert person_weights(("a", "b", "a", "a")).tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
