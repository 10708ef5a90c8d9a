import numpy as np
import pytest

from fmnet.data.resample import smooth_values
from fmnet.data.template import build_grid
from fmnet.inference.gate_measures import (
    MEASURES,
    measure,
    measure_beside,
    missing_half,
    smoothness_mm,
)
from fmnet.inference.orientation import aspects_of
from tests.gate_fixtures import CONTRASTS, draw_people, lopsided_grid

GRID = lopsided_grid()
PLACE = np.argwhere(GRID.mask)


@pytest.mark.parametrize("fwhm_mm", [16.0, 24.0])
def test_smoothness_is_about_what_a_map_was_smoothed_by(fwhm_mm):
    grid = build_grid(8)
    noise = np.random.default_rng(0).normal(size=grid.n_voxels).astype(np.float32)
    found = smoothness_mm(smooth_values(noise, grid, fwhm_mm), grid)
    assert found == pytest.approx(fwhm_mm, rel=0.15)


@pytest.mark.parametrize("values", [np.nan, 3.0])
def test_maps_without_differences_have_no_smoothness(values):
    assert smoothness_mm(np.full(GRID.n_voxels, values, np.float32), GRID) == 0


def test_scale_sign_and_tails_of_a_map():
    values = np.tile(np.float32([3, -3, 3, 3]), (1, GRID.n_voxels // 4 + 1))[:, : GRID.n_voxels]
    found = measure(values, GRID)
    assert found["scale", 0] == pytest.approx(3)
    assert found["positive", 0] == pytest.approx(0.75, abs=0.01)
    assert found["tails", 0] == pytest.approx(1)


def test_places_are_held_against_others():
    values = draw_people(GRID, 1, seed=0)[0]
    usual = np.ones_like(values)
    known = np.where(PLACE[:, 2] < 5, np.nan, values)
    found = measure_beside(aspects_of(known), GRID, aspects_of(values)[:2], usual)
    assert found["similarity", 1] == pytest.approx(1, abs=1e-5)
    assert found["coverage", None] == pytest.approx(np.mean(PLACE[:, 2] >= 5))
    assert found["centre in z", None] > 20
    assert found["centre in x", None] == pytest.approx(0, abs=5)
    nobody = np.where(PLACE[:, 2] < 5, 0, usual).astype(np.float32)
    beside = measure_beside(aspects_of(known), GRID, aspects_of(values)[:2], nobody)
    assert beside["coverage", None] == 1
    assert beside["centre in z", None] == pytest.approx(0)


def test_an_even_loss_is_of_no_half():
    known = np.random.default_rng(1).random((len(CONTRASTS), GRID.n_voxels)) < 0.7
    usual = np.ones(known.shape, np.float32)
    assert missing_half(known, GRID, usual) == ""
    assert missing_half(PLACE[None, :, 1] > 4, GRID, usual[:1]) == "0% of the back half"


@pytest.mark.parametrize("name", MEASURES)
def test_scales_lead_back(name):
    kind = MEASURES[name]
    for value in (0.02, 0.3, 0.9):
        assert kind.back(kind.forward(value)) == pytest.approx(value)
    assert kind.too_low
    assert kind.action
