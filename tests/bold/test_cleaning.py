import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.signal import clean

import fmnet.bold.cleaning as cleaning
from fmnet.bold.cleaning import clean_values, cleaning_faults, cleaning_matrix, signal_to_noise
from fmnet.bold.confounds import Nuisance
from fmnet.bold.decoded import RunFacts, StoredRun
from fmnet.bold.settings import CleaningSettings, band_of
from fmnet.errors import VolumeError

UNFILTERED = CleaningSettings("motion6", None, None)
BAND = CleaningSettings("motion6", 0.01, 0.1)


def nuisance_of(regressors, left_out=()):
    n = len(regressors)
    kept = np.setdiff1d(np.arange(n), left_out)
    names = tuple(map(str, range(regressors.shape[1])))
    return Nuisance(regressors, names, kept, 0, n - len(kept), np.full(n, np.nan), "")


def walks(seed, n_volumes, n):
    return np.random.default_rng(seed).normal(size=(n_volumes, n)).cumsum(axis=0)


def with_nilearn(series, nuisance, t_r, band):
    low, high = band_of(band)
    is_whole = len(nuisance.kept) == len(series)
    return clean(
        series,
        standardize=None,
        # nilearn changes the mask it is given
        sample_mask=None if is_whole else nuisance.kept.copy(),
        confounds=nuisance.regressors if nuisance.names else None,
        low_pass=high,
        high_pass=low,
        t_r=t_r,
    )


@pytest.fixture
def store_values(tmp_path):
    """Store integers, (T, V), as `DecodedBold` does, with one scale or one for each voxel."""

    def store(numbers, slope=1.0, intercept=0.0, t_r=2.0):
        path = tmp_path / "run.npy"
        np.save(path, numbers)
        scale = (float(slope), float(intercept)) if np.ndim(slope) == 0 else (1.0, 0.0)
        if np.ndim(slope):
            np.save(path.with_suffix(".scale.npy"), np.array([slope, intercept], np.float32))
        geometry = ((1, 1, 1), ((1.0,),), "MNI152", 1.0, "", "", "")
        shape = (*numbers.shape, numbers.dtype.str)
        return StoredRun(path, RunFacts(t_r, *shape, *scale, bool(np.ndim(slope)), *geometry))

    return store


@st.composite
def left_out(draw, n_volumes):
    """Volumes to leave out of which none is another's mirror image, where nilearn goes wrong."""
    places = draw(st.sets(st.integers(0, n_volumes - 1), max_size=15))
    return sorted(place for place in places if n_volumes - 1 - place not in places)


# against nilearn ---------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.data(),
    st.integers(60, 130),
    st.integers(0, 6),
    st.sampled_from([0.8, 2.0, 2.5]),
    st.sampled_from([None, 0.008, 0.02]),
    st.sampled_from([None, 0.09, 0.15]),
)
def test_does_what_nilearn_does(data, n_volumes, n_regressors, t_r, low_hz, high_hz):
    nuisance = nuisance_of(walks(1, n_volumes, n_regressors), data.draw(left_out(n_volumes)))
    band = CleaningSettings("motion6", low_hz, high_hz)
    series = 1000 + walks(0, n_volumes, 5)
    expected = with_nilearn(series, nuisance, t_r, band)
    matrix = cleaning_matrix(nuisance, t_r, band)
    assert matrix.shape == (len(nuisance.kept), n_volumes)
    np.testing.assert_allclose(matrix @ series, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-9)


@pytest.mark.parametrize("band", [BAND, UNFILTERED])
@pytest.mark.parametrize("left", [[], [0, 1, 30, 77]])
@pytest.mark.parametrize("slope", [0.5, "each"])
def test_values_are_percent_of_nilearns(store_values, band, left, slope):
    numbers = (walks(2, 90, 9) * 20).astype(np.int16)
    intercept = 9000.0
    if slope == "each":
        slope, intercept = np.linspace(0.2, 2, 9), np.linspace(8000, 9000, 9)
    nuisance = nuisance_of(walks(3, 90, 4), left)
    stored = store_values(numbers, slope, intercept)
    values = stored.read_window(0, 90).astype(np.float64)
    expected = with_nilearn(values, nuisance, 2.0, band)
    expected *= 100 / values[nuisance.kept].mean(axis=0)
    found = clean_values(stored, nuisance, band)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.std())


@pytest.mark.parametrize("band", [BAND, UNFILTERED, replace(BAND, low_hz=None)])
@pytest.mark.parametrize("left", [[20, 69], [0, 89], [0, 1, 2, 44, 45], [40, 49, 50, 60, 88, 89]])
def test_nothing_of_volumes_left_out_gets_through(band, left):
    """Among them mirror images in time, which nilearn 0.14 lets through."""
    matrix = cleaning_matrix(nuisance_of(walks(3, 90, 4), left), 2.0, band)
    np.testing.assert_array_equal(matrix[:, left], 0)
    assert np.isfinite(matrix).all()


def test_confounds_drift_and_other_frequencies_are_gone():
    times = np.arange(120) * 2.0
    regressors = walks(4, 120, 3)
    slow, fast, inside = (np.sin(2 * np.pi * hz * times) for hz in (0.002, 0.2, 0.05))
    series = np.stack([regressors @ [1, 2, 3], 5 * times, slow, fast, inside], axis=1)
    cleaned = cleaning_matrix(nuisance_of(regressors), 2.0, BAND) @ series
    share = cleaned[15:-15].std(axis=0) / series.std(axis=0)
    np.testing.assert_array_less(share[:4], [1e-6, 1e-6, 0.1, 0.1])
    assert share[4] > 0.8


def test_cosines_take_the_place_of_the_lower_limit():
    nuisance = nuisance_of(walks(5, 90, 4))
    components = cleaning_matrix(nuisance, 2.0, replace(BAND, strategy="compcor"))
    np.testing.assert_array_equal(
        components, cleaning_matrix(nuisance, 2.0, replace(BAND, low_hz=None))
    )
    assert band_of(replace(BAND, strategy="compcor")) == (None, 0.1)


def test_nuisance_is_left_as_it_was():
    nuisance = nuisance_of(walks(6, 90, 4), [0, 1])
    before = (nuisance.regressors.copy(), nuisance.kept.copy())
    cleaning_matrix(nuisance, 2.0, BAND)
    np.testing.assert_array_equal(nuisance.regressors, before[0])
    np.testing.assert_array_equal(nuisance.kept, before[1])


# values ------------------------------------------------------------------------------------------


def test_nan_where_percentages_mean_nothing(store_values):
    numbers = (walks(7, 90, 6) * 50).astype(np.int16)
    numbers[:, 1] = 77
    slope = np.array([1, 1, 1, np.nan, 0, 1])
    numbers[:, 5] -= numbers[:, 5].mean().astype(np.int16)
    intercept = np.array([9000, 9000, -9000, np.nan, 9000, 0])
    found = clean_values(
        store_values(numbers, slope, intercept), nuisance_of(walks(8, 90, 2)), BAND
    )
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to([0, 1, 1, 1, 1, 1], found.shape))


def test_voxel_that_varies_in_left_out_volumes_only_is_nan(store_values):
    numbers = np.full((90, 2), 900, np.int16)
    numbers[:, 1] += np.arange(90, dtype=np.int16) % 7
    numbers[4, 0] = 1000
    found = clean_values(store_values(numbers), nuisance_of(walks(8, 90, 2), [4]), BAND)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


def test_blocks_change_nothing(store_values, monkeypatch):
    stored = store_values((9000 + walks(9, 90, 23) * 20).astype(np.int16))
    nuisance = nuisance_of(walks(3, 90, 4), [5])
    whole = clean_values(stored, nuisance, BAND), signal_to_noise(stored, 2)
    monkeypatch.setattr(cleaning, "BLOCK_NUMBERS", 90 * 5)
    np.testing.assert_allclose(clean_values(stored, nuisance, BAND), whole[0], atol=1e-5)
    np.testing.assert_allclose(signal_to_noise(stored, 2), whole[1], rtol=1e-5)


def test_memory_is_the_result_and_a_few_blocks(store_values):
    stored = store_values(np.resize(np.arange(7000, 9000, 7, np.int16), (150, 60_000)))
    nuisance = nuisance_of(walks(3, 150, 4))
    clean_values(stored, nuisance, BAND)
    tracemalloc.start()
    try:
        found = clean_values(stored, nuisance, BAND)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - found.nbytes < 6 * 4 * cleaning.BLOCK_NUMBERS


def test_signal_to_noise_is_mean_over_deviation(store_values):
    numbers = (9000 + walks(9, 90, 4) * 20).astype(np.int16)
    numbers[:2] += 5000
    numbers[:, 2] = 5
    found = signal_to_noise(store_values(numbers), 2)
    with np.errstate(divide="ignore"):
        expected = numbers[2:].mean(axis=0) / numbers[2:].std(axis=0)
    expected[2] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-4)


# refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t_r", "low_hz", "high_hz", "found"),
    [
        (5.0, 0.01, 0.1, "an upper limit of 0.1 Hz where volumes are 5 s apart"),
        (6.0, 0.01, 0.1, "an upper limit of 0.1 Hz where volumes are 6 s apart"),
        (2.0, 0.1, 0.05, "a band from 0.1 to 0.05 Hz"),
        (2.0, 0.3, None, "a band from 0.3 to 0.25 Hz"),
        (2.0, 0.01, 0.02, "6 regressors where 90 volumes leave 3 degrees of freedom between"),
    ],
)
def test_refuses_band(t_r, low_hz, high_hz, found):
    band = CleaningSettings("motion6", low_hz, high_hz)
    with pytest.raises(VolumeError) as caught:
        cleaning_matrix(nuisance_of(walks(3, 90, 6)), t_r, band)
    (fault,) = caught.value.faults
    assert fault.found.startswith(found)


def test_run_must_be_longer_than_the_filter():
    nuisance = nuisance_of(walks(3, 60, 1), range(33, 60))
    assert "33 volumes from first to last" in str(*cleaning_faults(nuisance, 2.0, BAND, "run"))
    assert not cleaning_faults(nuisance, 2.0, UNFILTERED, "run")
    longer = nuisance_of(walks(3, 60, 1), range(34, 60))
    assert np.isfinite(cleaning_matrix(longer, 2.0, BAND)).all()


def test_regressors_that_do_not_vary_take_no_degree_of_freedom():
    regressors = np.hstack([walks(3, 90, 2), np.zeros((90, 30))])
    assert not cleaning_faults(nuisance_of(regressors), 2.0, BAND, "run")
    assert cleaning_faults(nuisance_of(walks(3, 90, 32)), 2.0, BAND, "run")
