import pytest
import torch

from fmnet.training.episodes import BackgroundPrior, EffectPrior, EpisodeMaker

SHAPE = (8, 12, 4)
KINDS = ("aligned", "shifted", "moved", "varied", "widespread", "mixed")


def build_maker(kind="aligned", **changes):
    mask = torch.ones(SHAPE)
    mask[0] = 0
    effect = EffectPrior(kinds={kind: 1.0}, amplitude=(1.0, 1.0), shift_mm=(12.0, 12.0))
    settings = {"n_support": (20, 30), "n_query": 7, "n_unseen": 5, "n_together": 3} | changes
    return EpisodeMaker(mask, effect=effect, **settings)


def draw(maker, seed=0):
    return maker.draw(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_patients_alone_show_something_inside_the_mask(kind):
    episodes = draw(build_maker(kind))
    n = len(episodes.support)
    assert 20 <= n <= 30
    assert episodes.query.shape == (7, *SHAPE)
    assert episodes.unseen.shape == (3, 5, *SHAPE)
    n_patients = set(episodes.labels.sum(1).tolist())
    assert n_patients == {episodes.shown.shape[1]}
    assert episodes.shown.abs().amax((2, 3, 4)).max() > 0
    for maps in (episodes.support, episodes.query, episodes.shown, episodes.unseen):
        assert torch.isfinite(maps).all()
        assert not maps[..., episodes.mask == 0].any()


def test_aligned_regions_are_the_same_in_all_and_moved_ones_are_not():
    aligned, shifted = (draw(build_maker(kind), 3).shown[0] for kind in ("aligned", "shifted"))
    assert torch.equal(aligned[0], aligned[1])
    assert not torch.equal(shifted[0], shifted[1])


def test_same_seed_draws_the_same_and_another_one_others():
    one, again, other = (draw(build_maker(), seed) for seed in (1, 1, 2))
    assert torch.equal(one.support, again.support)
    assert one.support.shape != other.support.shape or not torch.equal(one.support, other.support)


def test_fields_have_a_variance_of_1_at_every_voxel():
    maker = build_maker()
    fields = maker._fields(4000, 20.0, torch.Generator().manual_seed(4))
    torch.testing.assert_close(fields.var(0), torch.ones(SHAPE), atol=0.15, rtol=0)


def test_coverage_is_left_out_as_often_as_asked():
    always = build_maker()
    always.background = BackgroundPrior(missing=1.0)
    whole = int(always.mask.sum())
    assert all(int(draw(always, seed).mask.sum()) < whole for seed in range(5))
    always.background = BackgroundPrior(missing=0.0)
    assert int(draw(always).mask.sum()) == whole
