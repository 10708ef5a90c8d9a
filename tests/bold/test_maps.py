import pickle
from dataclasses import replace

import numpy as np
import pytest
from map_fixtures import make_source, noise

from fmnet.bold import acquired
from fmnet.bold.acquired import AcquiredRun
from fmnet.bold.maps import compute_maps, parse_maps, weighted_mean
from fmnet.errors import ConfigError, VolumeError

NAMES = [
    "temporal_sd", "alff", "falff", "reho", "seed:pcc=0,-20,10", "contrast:faces=face - house",
]  # fmt: skip


def test_names_become_channels():
    recipes = parse_maps(NAMES)
    assert [recipe.name for recipe in recipes] == [
        "temporal_sd", "alff", "falff", "reho", "seed-pcc", "contrast-faces"
    ]  # fmt: skip
    assert [recipe.needs_events for recipe in recipes] == [False] * 5 + [True]


def test_recipes_travel_to_other_processes(rng, grid):
    recipes = parse_maps(NAMES[:5])
    source = make_source(grid, noise(rng, grid))
    there = pickle.loads(pickle.dumps(recipes))
    np.testing.assert_array_equal(compute_maps([source], there), compute_maps([source], recipes))


def test_all_faults_come_at_once():
    names = [
        "alf", "seed:a=1,2", "seed:b=1,2,300", "seed:c=x,1,2", "contrast:d=", "contrast:e=a *",
        "seed:=1,2,3", "reho", "reho",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="8 faults") as caught:
        parse_maps(names, "cohort.maps")
    found = [fault.found for fault in caught.value.faults]
    assert found == [
        "'alf'",
        "'seed:a=1,2', without three coordinates",
        "'seed:b=1,2,300', more than 150 mm from the origin",
        "'seed:c=x,1,2', without three coordinates",
        "'contrast:d='",
        "'contrast:e=a *': the formula 'a *', which is no formula",
        "'seed:=1,2,3'",
        "more than one map called 'reho'",
    ]
    assert {fault.where for fault in caught.value.faults} == {"cohort.maps"}


def test_coordinates_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigError, match="more than 150 mm"):
        parse_maps(["seed:a=nan,0,0"])


def test_no_map_is_refused():
    with pytest.raises(ConfigError, match=r"cohort\.maps: found no map; accepted: temporal_sd, "):
        parse_maps([])


def test_runs_count_by_their_volumes(rng, grid):
    runs = [noise(rng, grid, n) for n in (30, 90)]
    (recipe,) = parse_maps(["temporal_sd"])
    sources = [make_source(grid, run) for run in runs]
    sds = [100 * run.std(axis=0) / run.mean(axis=0) for run in runs]
    np.testing.assert_allclose(
        compute_maps(sources, [recipe])[0], 0.25 * sds[0] + 0.75 * sds[1], rtol=1e-4
    )


def test_volumes_left_out_do_not_count(rng, grid):
    runs = [noise(rng, grid, 60), noise(rng, grid, 60)]
    (recipe,) = parse_maps(["temporal_sd"])
    sources = [make_source(grid, runs[0], kept=np.arange(20)), make_source(grid, runs[1])]
    parts = [compute_maps([source], [recipe])[0] for source in sources]
    np.testing.assert_allclose(
        compute_maps(sources, [recipe])[0], (parts[0] + 3 * parts[1]) / 4, rtol=1e-5
    )


def test_no_data_in_one_run_is_no_value():
    parts = [np.array([1, np.nan], np.float32), np.array([3, 3], np.float32)]
    np.testing.assert_array_equal(weighted_mean(parts, [1, 1]), [2, np.nan])


def test_all_maps_of_all_runs(rng, grid, tmp_path, write_tsv):
    rows = [
        {"onset": t, "duration": 10, "trial_type": name}
        for t, name in [(5, "face"), (35, "house"), (65, "face"), (95, "house")]
    ]
    events = write_tsv(tmp_path / "events.tsv", rows)
    sources = [make_source(grid, noise(rng, grid), events=events) for _ in range(2)]
    maps = compute_maps(sources, parse_maps(NAMES))
    assert (maps.shape, maps.dtype) == ((6, grid.n_voxels), np.float32)
    assert np.isfinite(maps[:3]).all()
    assert np.isfinite(maps[4:]).all()
    for recipe, row in zip(parse_maps(NAMES), maps, strict=True):
        np.testing.assert_array_equal(compute_maps(sources, [recipe])[0], row)


def test_each_run_is_cleaned_once(rng, grid, monkeypatch):
    calls = []

    def clean(stored, *_):
        calls.append(stored)
        return stored.read_window(0, stored.n_volumes) - 1000

    monkeypatch.setattr(acquired, "clean_values", clean)
    held = [make_source(grid, noise(rng, grid), run_id=name) for name in ("a", "b")]
    sources = [AcquiredRun(one.source, one.stored, one.nuisance, one.cleaning) for one in held]
    compute_maps(sources, parse_maps(NAMES[:5]))
    # within the band and without its limits
    assert calls == [held[0].stored] * 2 + [held[1].stored] * 2


def test_all_faults_of_all_runs_come_at_once(rng, grid):
    sources = [make_source(grid, noise(rng, grid), run_id=name) for name in ("a", "b")]
    names = [*NAMES, "contrast:houses=house", "seed:far=90,100,0"]
    with pytest.raises(VolumeError, match="4 faults") as caught:
        compute_maps(sources, parse_maps(names))
    found = [(fault.where, fault.found) for fault in caught.value.faults]
    far = "seed 'far' at (90, 100, 0) mm, outside the mask"
    assert found == [("a", "no events"), ("a", far), ("b", "no events"), ("b", far)]


def test_cleaning_is_asked_for_with_and_without_the_band(rng, grid, monkeypatch):
    asked = []

    def clean(stored, nuisance, settings):
        asked.append((settings.low_hz, settings.high_hz))
        return stored.read_window(0, stored.n_volumes) - 1000

    monkeypatch.setattr(acquired, "clean_values", clean)
    held = make_source(grid, noise(rng, grid))
    cleaning = replace(held.cleaning, high_hz=0.2)
    source = AcquiredRun(held.source, held.stored, held.nuisance, cleaning)
    compute_maps([source], parse_maps(NAMES[:5]))
    assert asked == [(0.01, 0.2), (None, None)]
