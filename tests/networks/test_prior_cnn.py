import pytest
import torch
from torch import nn

from fmnet.networks.feature_weighting import fit_whitening, t_values
from fmnet.networks.prior_cnn import (
    BANDS_MM,
    SignatureCnn,
    coarse_space,
    log_variance_ratio,
    n_input_channels,
    pool,
    support_statistics,
)

SHAPE, N = (8, 12, 4), 30


class Silent(nn.Module):
    """A backbone that has learned nothing."""

    def forward(self, maps):
        return maps.new_zeros(len(maps), 3, *maps.shape[2:])


@pytest.fixture
def mask():
    mask = torch.ones(SHAPE)
    mask[0], mask[:, :2] = 0, 0
    return mask


@pytest.fixture
def bands(mask):
    """Bands of two sets of scans: (2, N, S, X, Y, Z)."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, N, *SHAPE, generator=generator)
    maps[:, ::2, 3:5, 5:8, 1:3] += 1.5
    return coarse_space(mask)(maps.flatten(0, 1)[:, None])[:, :, 0].view(2, N, -1, *SHAPE)


@pytest.fixture
def labelings():
    generator = torch.Generator().manual_seed(4)
    labels = (torch.arange(N) % 2 == 0).long()
    others = torch.stack([labels[torch.randperm(N, generator=generator)] for _ in range(2)])
    return torch.cat([labels[None], others]).expand(2, 3, N)


def test_statistics_are_those_of_the_closed_form(bands, labelings, mask):
    support = support_statistics(bands, labelings, mask)
    inside = mask.bool()
    assert support.maps.shape == (2, 3, n_input_channels(len(BANDS_MM)), *SHAPE)
    for band in range(len(BANDS_MM)):
        features = bands[1, :, band][:, inside]
        _, z = fit_whitening(features, 10.0, N)
        expected = t_values(z, labelings[1, 2])
        torch.testing.assert_close(support.white_t[1, 2, band], expected, atol=1e-4, rtol=1e-4)
    assert not support.maps[..., ~inside].any()


def test_sets_and_labelings_at_once_are_those_one_at_a_time(bands, labelings, mask):
    together = support_statistics(bands, labelings, mask)
    alone = support_statistics(bands[1:], labelings[1:, 2:], mask)
    torch.testing.assert_close(together.maps[1:, 2:], alone.maps, atol=1e-4, rtol=1e-4)


def test_new_network_writes_third_powers_of_whitened_t_values(bands, labelings, mask):
    support = support_statistics(bands, labelings, mask)
    with torch.no_grad():
        weights = SignatureCnn(Silent(), len(BANDS_MM), 3)(support, mask)
    assert weights.shape == (2, 3, len(BANDS_MM), int(mask.sum()))
    for band in range(len(BANDS_MM)):
        whitening = support.whitening[band][0]
        expected = whitening.unwhitened(support.white_t[0, 0, band] ** 3)
        found = weights[0, 0, band]
        # a little of first powers and of plain values is mixed in from the start
        assert torch.cosine_similarity(found, expected, dim=0) > 0.98


def test_other_labels_turn_the_signature_round(bands, labelings, mask):
    network = SignatureCnn(Silent(), len(BANDS_MM), 3)
    with torch.no_grad():
        one = network(support_statistics(bands, labelings, mask), mask)
        other = network(support_statistics(bands, 1 - labelings, mask), mask)
    torch.testing.assert_close(one, -other, atol=1e-4, rtol=1e-3)


def test_variances_are_compared_in_units_of_chance():
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(1, 400, 500, generator=generator)
    labels = (torch.arange(400) % 2)[None, None]
    assert log_variance_ratio(features, labels).std().item() == pytest.approx(1, abs=0.12)
    features[:, 1::2] *= 2
    # the logarithm of 4, in SD of 0.14
    assert log_variance_ratio(features, labels).mean().item() == pytest.approx(9.7, abs=0.4)


def test_voxels_outside_the_mask_have_no_part_in_means():
    image, mask = torch.full((2, 5, 6, 7), 3.0), torch.ones(5, 6, 7)
    image[:, 0], mask[0] = 1000, 0
    coarse = pool(image, mask, 2)
    assert coarse.shape == (2, 4, 4, 4)  # filled up, so that it can be halved twice
    assert set(coarse.unique().tolist()) == {0, 3}
