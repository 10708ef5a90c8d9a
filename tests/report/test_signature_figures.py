import re
import warnings

import numpy as np
import pytest

from fmnet.report.signature_figures import draw_deletion, draw_halves, draw_region_curve
from fmnet.signature.map_agreement import count_pairs


def two_maps():
    one, noise = np.random.default_rng(0).normal(size=(2, 2, 700))
    return one, one + 0.5 * noise


def test_pairs_of_voxels_are_all_counted():
    one, other = two_maps()
    one[0, 0] = 1e6  # an outlier doesn't shrink all others to one square
    found = count_pairs(one, other)
    counts, edges = np.array(found["counts"]), np.array(found["edges"])
    assert counts.sum() == 1400
    assert edges[-1] == -edges[0] < 10
    assert counts[20:, 20:].sum() > 2 * counts[20:, :20].sum()
    # the first axis is that of the first map
    assert count_pairs(np.ones((1, 9)), -np.ones((1, 9)))["counts"][-1][0] == 9


def test_halves_are_drawn_beside_their_null():
    agreed = {"observed": 0.42, "null": [-0.1, 0.0, 0.13], "p": 0.25}
    found = {"voxel_r": agreed, "n_per_half": [14, 15], "histogram": count_pairs(*two_maps())}
    picture = draw_halves(found)
    assert picture.image.startswith(b"<?xml")
    assert len(picture.image) < 100_000
    assert "correlate with r = 0.42, p = 0.250; 0.01 by chance" in picture.alt
    assert draw_halves({"voxel_r": agreed | {"null": [], "p": None}}).name == "halves"


def test_curves_of_deletion_are_told():
    curves = {"signature": [0.7, 0.6], "linear $SVM": [0.7, 0.65], "random": [[0.7, 0.69]] * 3}
    found = {"fractions": [0.0, 0.1], "deletion": curves, "insertion": curves | {"random": []}}
    picture = draw_deletion(found)
    assert picture.name == "deletion"
    assert "deletion by linear $SVM, 0.70 to 0.65" in picture.alt
    assert "insertion by signature, 0.70 to 0.60" in picture.alt


@pytest.mark.parametrize(("sign", "verb"), [(1, "rises"), (-1, "falls")])
def test_effect_of_a_region_is_told(sign, verb):
    factors = [-2, 0, 2]
    effects = np.sort(sign * np.outer([0.5, 1.0, 1.5], factors), axis=0).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw_region_curve(factors, effects, "$\\frac{<b>", "FM$_x")
    assert re.search(rf"{verb} by 4 \(median\) as the value of \$\\frac", picture.alt)
