import re

import numpy as np
import pytest

from fmnet.crossval.reruns import (
    SiteHarmoniser,
    folds_lack_sites,
    harmonisation_lacks,
)
from fmnet.data.folds import Fold

pytest.importorskip("combatlearn", reason="combatlearn is not installed")

#: Both groups at both sites; labels alternate from row to row.
SITES = tuple(f"site-{row // 2 % 2}" for row in range(30))
AT_SECOND = np.array([site == "site-1" for site in SITES])
TRAIN = np.arange(20)


@pytest.fixture
def values():
    """Two channels; the second site is shifted and louder."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 2, 210)) + rng.normal(size=(1, 2, 210))
    values[AT_SECOND] = 3 * values[AT_SECOND] + 2
    return values.astype(np.float32)


def test_shift_and_scale_between_sites_are_taken_out(values):
    changed = SiteHarmoniser(SITES)(values, TRAIN)
    assert changed.shape == values.shape
    assert changed.dtype == np.float32
    test = np.arange(30) >= 20
    gap = changed[test & AT_SECOND].mean() - changed[test & ~AT_SECOND].mean()
    assert abs(gap) < 0.3 < abs(values[test & AT_SECOND].mean() - values[test & ~AT_SECOND].mean())
    ratio = (
        changed[test & AT_SECOND].std(axis=0).mean() / changed[test & ~AT_SECOND].std(axis=0).mean()
    )
    assert 0.7 < ratio < 1.4


def test_nothing_is_learned_from_other_scans(values):
    spoilt = values.copy()
    spoilt[25:] = 1e3
    one, other = (SiteHarmoniser(SITES)(v, TRAIN)[:25] for v in (values, spoilt))
    np.testing.assert_array_equal(one, other)


def test_missing_voxels_stay_missing_and_change_no_others(values):
    holed = values.copy()
    holed[3, 0, 7] = holed[25, 1, 9] = np.nan
    holed[:, 0, 20] = np.nan
    changed = SiteHarmoniser(SITES)(holed, TRAIN)
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(holed))


def test_every_training_needs_two_people_of_each_site():
    people = tuple(f"sub-{k}" for k in range(12))
    fold = Fold(0, 0, people[:10], people[10:], (people[:5], people[5:10]))
    alternating = {person: "AB"[k % 2] for k, person in enumerate(people)}
    assert folds_lack_sites([fold], alternating) == ""
    rare = {person: "B" if k in {4, 5, 6} else "A" for k, person in enumerate(people)}
    found = folds_lack_sites([fold], rare)
    assert found == "2 people of each site in every training (fewer of B)"


@pytest.mark.parametrize(
    ("sites", "lacking"),
    [
        (SITES, ""),
        (("a",) * 30, "two or more sites"),
        (("", *SITES[1:]), "known for everybody"),
        (("c", "c", *SITES[2:]), "6 scans at each site .fewer at c"),
        (("c", "b") * 6 + ("b", "b") * 9, "both groups at each site .one only at c"),
        ((*"bbbb", *"ab" * 8, *"aabb" * 2, "a", "a"), r"chi-squared test, p = 0\.0"),
    ],
)
def test_says_why_sites_can_not_be_harmonised(build_study, sites, lacking):
    found = harmonisation_lacks(build_study(site=list(sites)).cohort)
    assert re.fullmatch(lacking and f".*{lacking}.*", found)
