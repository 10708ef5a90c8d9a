from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pretraining_fixtures import FEW

from fmnet.data.grid import Grid
from fmnet.errors import CohortError
from fmnet.training import own_maps
from fmnet.training.episodes import EpisodeMaker
from fmnet.training.own_maps import OwnMapsEpisodeMaker, coarse_mask, read_people

N_PEOPLE = 19


@pytest.fixture
def table(
    tmp_path: Path, grid: Grid, write_map: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Maps of 19 people in two contrasts, on a grid that is small."""
    monkeypatch.setattr(own_maps, "build_grid", lambda voxel_size_mm: grid)
    monkeypatch.setattr(own_maps, "FINE_MM", 20)
    read_people.cache_clear()
    rows = []
    for number in range(N_PEOPLE):
        for contrast in ("pain", "rest"):
            path = write_map(tmp_path / f"{number}_{contrast}.nii.gz")
            rows.append({"participant_id": f"p{number}", "contrast": contrast, "path": path.name})
    file = tmp_path / "images.tsv"
    pd.DataFrame(rows).to_csv(file, sep="\t", index=False)
    return str(file)


def maker(table: str | None, **changed: Any) -> OwnMapsEpisodeMaker:
    settings = FEW | {"voxel_size_mm": 20.0, "backgrounds": table} | changed
    return OwnMapsEpisodeMaker(coarse_mask(20), **settings)


def test_people_are_read_without_what_they_have_in_common(table: str, grid: Grid) -> None:
    people = read_people(table, 20)
    assert people.maps.shape == (2, N_PEOPLE, 8, 8, 12)
    assert people.maps.mean(1).abs().max() < 1e-5
    inside = people.maps[:, :, : grid.shape[0], : grid.shape[1], : grid.shape[2]]
    assert (inside[..., torch.from_numpy(grid.mask)] != 0).float().mean() > 0.95
    assert len(set(people.hashes)) == 2 * N_PEOPLE


def test_backgrounds_are_people_of_one_contrast_and_nobody_twice(table: str) -> None:
    people = read_people(table, 20).maps
    episodes = maker(table, backgrounds_fraction=1.0).draw(torch.Generator().manual_seed(1))
    drawn = torch.cat([episodes.support, episodes.query])
    known = torch.cat([people, -people], 1) * episodes.mask
    same = (drawn[:, None, None] - known).abs().amax((3, 4, 5)) < 1e-6  # (n, C, 2 P)
    assert same.any(2).any(0).sum() == 1  # one contrast
    (who,) = same.any(2).any(0).nonzero()
    rows = same[:, who[0]].float().argmax(1) % N_PEOPLE
    assert len(set(rows.tolist())) == len(drawn) <= N_PEOPLE


def test_without_own_maps_episodes_are_the_simulated_ones() -> None:
    settings = FEW | {"voxel_size_mm": 20.0}
    mask = torch.ones(8, 8, 12)
    plain = EpisodeMaker(mask, **settings).draw(torch.Generator().manual_seed(3))
    own = OwnMapsEpisodeMaker(mask, **settings)
    assert torch.equal(own.draw(torch.Generator().manual_seed(3)).support, plain.support)
    assert own.hashes == ()


def test_half_of_the_backgrounds_are_simulated(table: str) -> None:
    half = maker(table, backgrounds_fraction=0.5)
    people = read_people(table, 20).maps
    generator = torch.Generator().manual_seed(0)

    def is_own() -> bool:
        one = half.draw(generator)
        away = (one.support[0] - torch.cat([people, -people]) * one.mask).abs()
        return bool((away.amax((2, 3, 4)) < 1e-6).any())

    assert 3 <= sum(is_own() for _ in range(16)) <= 13


def test_too_few_people_are_refused(table: str) -> None:
    with pytest.raises(CohortError, match=r"19 people; accepted: 22 or more"):
        maker(table, n_support=(15, 20))


def test_two_scans_of_a_person_are_refused(table: str) -> None:
    rows = pd.read_csv(table, sep="\t").assign(session=lambda one: one.index % 4 // 2)
    rows["participant_id"] = [f"p{number // 4}" for number in range(len(rows))]
    rows.to_csv(table, sep="\t", index=False)
    read_people.cache_clear()
    with pytest.raises(CohortError, match="several scans of one person"):
        read_people(table, 20)
