# ruff: noqa: NPY002 (fmrisim draws from the global state)

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import noise as noise_module
from benchmarks.fmrisim_runs import ABSENT, simulate_like
from benchmarks.noise import NoiseBenchmark, compare
from benchmarks.noise_measures import measure_noise, thin_out
from fmnet.errors import BenchmarkError
from fmnet.synthetic.bold import write_bold_cohort


def white_noise(rng, grid, n=400, sd=20.0):
    return (1000 + sd * rng.standard_normal((n, grid.n_voxels))).astype(np.float32)


def test_white_noise_is_described_as_such(rng, grid):
    found = measure_noise(white_noise(rng, grid), grid, 2.0)
    assert found["tSNR, p50"] == pytest.approx(50, rel=0.05)
    assert found["DVARS (percent), p50"] == pytest.approx(2 * np.sqrt(2), rel=0.05)
    assert abs(found["AR(1) coefficient, p50"]) < 0.03
    assert abs(found["mean correlation of voxels"]) < 0.01
    assert abs(found["correlation of neighbours"]) < 0.02
    assert abs(found["excess kurtosis, p50"]) < 0.15
    shares = [found[f"power {band}"] for band in ("below 0.01 Hz", "0.01 to 0.1 Hz")]
    # of the 200 frequencies up to 0.25 Hz
    assert shares == pytest.approx([0.035, 0.36], abs=0.015)


def test_autocorrelation_and_drift_are_found(rng, grid):
    values = white_noise(rng, grid)
    for number in range(1, len(values)):
        values[number] = 1000 + 0.6 * (values[number - 1] - 1000) + 0.8 * (values[number] - 1000)
    found = measure_noise(values, grid, 2.0)
    assert found["AR(1) coefficient, p50"] == pytest.approx(0.6, abs=0.04)
    drift = 20 * np.sqrt(3) * np.linspace(-1, 1, len(values), dtype=np.float32)
    drifting = measure_noise(values + drift[:, None], grid, 2.0)
    assert drifting["share of variance that is drift"] == pytest.approx(0.5, abs=0.05)
    assert drifting["SFNR, p50"] == pytest.approx(found["SFNR, p50"], rel=0.01)


def test_smoothness_is_found(rng, grid):
    white = rng.standard_normal((300, *(n + 1 for n in grid.shape)))
    smooth = white[:, 1:, 1:, 1:] + white[:, :-1, 1:, 1:]  # along x alone: one axis of three
    found = measure_noise((1000 + smooth[:, grid.mask]).astype(np.float32), grid, 2.0)
    assert found["correlation of neighbours"] == pytest.approx(0.5 / 3, abs=0.03)


def test_thinning_out_keeps_the_voxels_that_it_names(rng, grid):
    values = white_noise(rng, grid, n=3)
    thin, coarse = thin_out(values, grid, 2)
    assert coarse.shape == (4, 4, 5)
    assert coarse.voxel_size_mm == (40.0, 40.0, 40.0)
    assert np.array_equal(coarse.unmask(thin), grid.unmask(values)[:, ::2, ::2, ::2])


def test_ratio_and_range_are_those_of_the_nearest():
    figures = {
        "real": [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 6.0}],
        "far": [{"a": 9.0, "b": 9.0}],
        "near": [{"a": 2.5, "b": 11.0}],
    }
    table = compare(figures, "near").set_index("quantity")
    assert table.loc["a", ["real", "far", "ratio", "in range"]].tolist() == [2.0, 9.0, 1.25, "yes"]
    assert table.loc["b", ["ratio", "in range"]].tolist() == [2.0, "no"]


def test_names_what_is_missing(tmp_path):
    with pytest.raises(BenchmarkError, match=r"suite\.data: found 0 runs and 0 masks in no folder"):
        NoiseBenchmark().run(tmp_path)
    with pytest.raises(BenchmarkError, match="0 runs and 0 masks in "):
        NoiseBenchmark(str(tmp_path)).run(tmp_path / "out")


def test_fmrisim_leaves_the_global_state_as_it_was(rng, grid):
    values = grid.unmask(white_noise(rng, grid, n=4))
    fake = SimpleNamespace(
        mask_brain=lambda volume, mask_self: (None, volume.mean(axis=-1) / 1000),
        calc_noise=lambda volume, mask, template, wanted: wanted,
        generate_noise=lambda dimensions, stimfunction_tr, **_: np.random.random(
            (*dimensions, len(stimfunction_tr))
        ),
    )
    np.random.seed(5)
    one, two = (simulate_like(fake, values, grid, 2.0, 1) for _ in range(2))
    assert one.shape == values.shape
    assert np.array_equal(one, two)
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    simulate_like(fake, values, grid, 2.0, 1)
    assert np.random.random() == expected


def test_suite_answers_with_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_module, "load_fmrisim", lambda: None)
    root = write_bold_cohort(tmp_path / "real", n_subjects=4, n_volumes=40, n_non_steady=0)
    suite = NoiseBenchmark(
        str(root), "sub-*/func/*_bold.nii.gz", "sub-synthetic001/func/*_mask.nii.gz", n_people=4
    )
    lines = suite.run(tmp_path / "out")
    assert lines[-1] == ABSENT
    table = pd.read_csv(tmp_path / "out" / "noise.tsv", sep="\t").set_index("quantity")
    assert table.loc["tSNR, p50", "ratio"] == pytest.approx(1, abs=0.3)
    assert "fmrisim" not in table


@pytest.mark.slow
def test_noise_is_near_that_of_a_real_person(real_data, tmp_path):
    folder = real_data / "bold" / "haxby_sub001"
    NoiseBenchmark(str(folder), n_people=6, n_simulated=0).run(tmp_path)
    ratio = pd.read_csv(tmp_path / "noise.tsv", sep="\t").set_index("quantity")["ratio"]
    near = ("tSNR, p50", "SFNR, p50", "AR(1) coefficient, p50", "power 0.01 to 0.1 Hz")
    assert ratio[list(near)].between(0.7, 1.4).all()
