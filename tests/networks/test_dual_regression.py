import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmnet.networks.stems import DualRegression, gauss_jordan_inverse, ridged_inverse

SHAPE = (7, 8, 9)


@pytest.fixture
def stem():
    return DualRegression(SHAPE, 4, seed=5)


@pytest.fixture
def series():
    """Scans that hold what is looked for; the second has no data in a corner."""
    generator = torch.Generator().manual_seed(0)
    networks = DualRegression(SHAPE, 4, seed=5).networks
    courses = torch.randn(2, 60, 4, generator=generator)
    series = torch.einsum("btk,kxyz->btxyz", courses, networks)
    series += torch.randn(series.shape, generator=generator) + 5
    series[:, :, 0] = 0
    series[1, :, 3:, 5:, 4:] = 0
    return series


def fit(design, values):
    """Least squares with an intercept: coefficients of the design's columns."""
    design = np.column_stack([design, np.ones(len(design))])
    return np.linalg.lstsq(design, values, rcond=None)[0][:-1]


def test_both_stages_are_those_of_least_squares(stem, series):
    maps = stem(series).numpy()
    for scan, own in zip(series.double().numpy(), maps, strict=True):
        inside = scan.any(axis=0)
        networks = stem.networks.double().numpy()[:, inside]
        courses = fit(networks.T, scan[:, inside].T).T  # (T, K)
        betas = fit(courses / courses.std(axis=0), scan[:, inside])
        np.testing.assert_allclose(own[:, inside], betas, atol=3e-3 * np.abs(betas).max())


def test_betas_have_the_unit_of_the_series(stem, series):
    torch.testing.assert_close(stem(3 * series), 3 * stem(series), atol=1e-3, rtol=1e-3)


def test_a_constant_of_a_volume_or_a_voxel_does_not_matter(stem, series):
    generator = torch.Generator().manual_seed(1)
    inside = (series != 0).any(1, keepdim=True)
    changed = series + 2 * torch.rand(*SHAPE, generator=generator)
    torch.testing.assert_close(stem(changed * inside), stem(series), atol=1e-2, rtol=1e-2)


def test_networks_that_are_alike_and_short_runs_give_finite_maps(stem, series):
    stem.networks[1] = stem.networks[0]
    stem.networks[2] = 0
    for n_volumes in (2, 3, 60):
        maps = stem(series[:, :n_volumes])
        assert torch.isfinite(maps).all()
        assert maps.abs().max() < 100
        assert not maps[:, 2].any()


def test_nothing_is_left_to_be_learned(stem):
    assert not list(stem.parameters())
    assert set(stem.state_dict()) == {"networks"}


def test_starts_from_the_networks_of_the_scans(stem, series):
    stem.fit([*series])
    assert not stem.networks[:, 0].any()
    inside = stem.networks[:, 1:].flatten(1)
    np.testing.assert_allclose(inside.std(dim=1), 1, rtol=1e-2)


@given(size=st.integers(1, 12), seed=st.integers(0, 1000))
def test_inverse_is_that_of_torch(size, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, size, 2 * size + 3, generator=generator, dtype=torch.float64)
    gram = rows @ rows.mT
    expected = torch.linalg.inv(gram)
    torch.testing.assert_close(gauss_jordan_inverse(gram), expected, atol=1e-8, rtol=1e-8)
    atol = 0.01 * float(expected.abs().max())
    torch.testing.assert_close(ridged_inverse(gram), expected, atol=atol, rtol=0)


def test_a_row_of_zeros_has_an_inverse_of_zeros():
    gram = torch.tensor([[[4.0, 0, 2], [0, 0, 0], [2, 0, 9]]])
    inverse = ridged_inverse(gram)
    assert not inverse[:, 1].any()
    kept = inverse[:, [0, 2]][:, :, [0, 2]]
    expected = torch.linalg.inv(torch.tensor([[[4.0, 2], [2, 9]]]))
    torch.testing.assert_close(kept, expected, atol=1e-4, rtol=1e-3)
