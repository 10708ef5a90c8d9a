from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fmnet.data.cohort_checks import stat_faults
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume, stated_stat
from fmnet.data.resample import place_on_grid
from fmnet.data.scans import Scan, covered_fraction
from fmnet.data.values import (
    SPIKE_FACTOR,
    blank_background,
    check_values,
    find_fill,
    header_stat,
    inside_mask,
    largest_usual,
    name_stat,
    same_stat,
    stat_fault,
)
from fmnet.data.volume import Volume
from fmnet.errors import VolumeError

SHAPE = (17, 18, 19)
AFFINE = np.array([[4.0, 0, 0, -30], [0, 4, 0, -40], [0, 0, 4, -20], [0, 0, 0, 1]])
NAN = np.float32(np.nan)


def brain():
    x, y, z = np.indices(SHAPE)
    return ((x - 8) / 7.3) ** 2 + ((y - 8.5) / 8) ** 2 + ((z - 9) / 8.2) ** 2 <= 1


def draw(seed=0):
    """Draw a smooth map, NaN outside of the brain."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.0)
    return np.where(brain(), noise / noise.std(), np.nan).astype(np.float32)


def read(values, tmp_path, dtype=np.float32):
    image = nib.Nifti1Image(values, AFFINE)
    image.set_data_dtype(dtype)
    image.to_filename(tmp_path / "map.nii")
    return read_volume(tmp_path / "map.nii", "MNI152")


def volume_of(values):
    return Volume(values[None], AFFINE, "MNI152", "map.nii")


# background ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "background", [0.0, -0.0, np.nan, 1e-42, 1e-30, 1e-6, -5e-5], ids=lambda value: f"{value:g}"
)
def test_background_that_is_as_good_as_zero_is_nan(background, tmp_path):
    data = draw()
    found = read(np.where(brain(), data, np.float32(background)), tmp_path).data[0]
    np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-4, 2e-4])
@pytest.mark.parametrize("draw_noise", ["normal", "laplace", "rayleigh"])
def test_noise_that_is_far_smaller_than_the_map_is_background(size, draw_noise, tmp_path):
    data = draw()
    data[:, :, 11:] = np.nan
    noise = size * getattr(np.random.default_rng(3), draw_noise)(size=SHAPE)
    found = read(np.where(np.isnan(data), noise, data).astype(np.float32), tmp_path).data[0]
    assert np.isnan(found[np.isnan(data)]).mean() > 0.99
    assert (np.isnan(found) & ~np.isnan(data)).sum() < 5


def test_value_of_few_voxels_is_data():
    values = np.zeros(SHAPE, np.float32)
    values.ravel()[:60] = np.linspace(4, 9, 60)
    values.ravel()[:30] = 3.5
    check_values(volume_of(values))


@pytest.mark.parametrize("power", [1, 2])
def test_small_values_of_a_statistic_or_its_square_are_data(power, tmp_path):
    data = draw() ** power
    np.testing.assert_array_equal(read(np.nan_to_num(data), tmp_path).data[0], data)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-7])
def test_what_float32_does_not_tell_from_zero_is_background(scale, tmp_path, rng):
    noise = (scale * rng.normal(size=SHAPE)).astype(np.float32)
    found = read(np.where(brain(), draw(), noise), tmp_path).data[0]
    np.testing.assert_array_equal(found, draw())


def test_a_few_faint_values_are_data(tmp_path):
    data = draw()
    data[8, 8, 5:9] = 1e-9
    np.testing.assert_array_equal(read(data, tmp_path).data[0], data)


def test_constant_added_everywhere_stays_in_the_brain(tmp_path):
    data = draw()
    found = read(np.nan_to_num(data) + np.float32(1e-6), tmp_path).data[0]
    np.testing.assert_array_equal(found, data + np.float32(1e-6))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint8, np.int8])
@pytest.mark.parametrize("is_resaved", [False, True])
def test_files_of_integers_cover_what_real_numbers_cover(dtype, is_resaved, tmp_path):
    data = np.nan_to_num(draw())
    data[:, :, 9:] = 0
    grid = Grid(brain(), AFFINE, "MNI152")
    expected = place_on_grid(read(data, tmp_path), grid)
    volume = read(data, tmp_path, dtype)
    step = nib.load(tmp_path / "map.nii").dataobj.slope
    if is_resaved:  # as real numbers, its 0 still the step nearest to 0
        volume = read(nib.load(tmp_path / "map.nii").get_fdata(dtype=np.float32), tmp_path)
    found = place_on_grid(volume, grid)
    lost = np.isnan(found) != np.isnan(expected)
    assert lost.sum() <= 2
    np.testing.assert_allclose(found[~lost], expected[~lost], atol=0.51 * step + 1e-6)
    assert covered_fraction(found) == pytest.approx(covered_fraction(expected), abs=2e-3)


def test_half_a_step_is_told_by_the_slope():
    values = np.linspace(-1, 1, 7 * 8 * 9, dtype=np.float32).reshape(7, 8, 9)
    found = blank_background(values, 1e-4)
    np.testing.assert_array_equal(np.isnan(found), np.abs(values) < 1e-4)


@settings(max_examples=15)
@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-5, 1, 1e4]))
def test_real_numbers_with_zeros_stay_what_they_are(seed, scale):
    data = draw(seed) * np.float32(scale)
    np.testing.assert_array_equal(blank_background(np.nan_to_num(data)), data)
    np.testing.assert_array_equal(blank_background(data), data)


@pytest.mark.parametrize("fill", [-1, 100, 0.1, -9999, 1e20, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_another_number_outside_is_refused_by_name(fill, dtype, tmp_path):
    if dtype != np.float32 and abs(fill) > 1000:
        pytest.skip("nothing is left of the map itself")
    volume = read(np.where(brain(), draw(), np.float32(fill)), tmp_path, dtype)
    with pytest.raises(VolumeError, match=r"map\.nii: found the value (\S+) in \d\d%") as caught:
        check_values(volume)
    named = float(caught.value.faults[0].found.split()[2])
    assert named == pytest.approx(fill, abs=0.25 if dtype == np.uint8 else 1e-2)


def test_number_that_fills_part_of_the_brain_is_refused(tmp_path):
    data = np.nan_to_num(draw())
    data[:, :, 13:] = np.where(brain()[:, :, 13:], -2, 0)
    with pytest.raises(VolumeError, match=r"found the value -2 in \d+% of the voxels other than"):
        check_values(read(data, tmp_path))


def test_number_that_resampling_made_uneven_is_one(rng):
    values = np.concatenate([rng.normal(size=500), -1 + 1e-7 * rng.integers(-2, 3, 500)])
    assert find_fill(values.astype(np.float32)) == pytest.approx(-1)


def test_coarse_values_are_no_fill(rng):
    assert find_fill(np.rint(rng.normal(size=2000) * 3).astype(np.float32) + 0.5) is None
    assert find_fill(np.zeros(0, np.float32)) is None


# spikes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e5, -1e5, 1e3])
def test_a_spike_is_named_with_voxel_and_value(value):
    data = draw()
    data[3, 8, 11] = value
    expected = rf"map\.nii: found a spike: {value:.6g} at voxel \(3, 8, 11\), .*\(-18, -8, 24\) mm"
    with pytest.raises(VolumeError, match=expected):
        check_values(volume_of(data))


def test_several_spikes_are_counted():
    data = draw()
    data[3, 8, 11], data[4, 8:11, 4] = 2e5, [1e5, 300, -9e5]
    expected = r"-900000 at voxel \(4, 10, 4\).*; 200000 at .*; 100000 at .* and 1 more"
    with pytest.raises(VolumeError, match=expected):
        check_values(volume_of(data))


@settings(max_examples=15)
@given(seed=st.integers(0, 99), freedom=st.sampled_from([3, 5, 19]))
def test_heavy_tails_are_no_spikes(seed, freedom):
    data = np.random.default_rng(seed).standard_t(freedom, SHAPE).astype(np.float32)
    check_values(volume_of(data))


def test_largest_usual_value_passes_over_a_few():
    values = np.arange(1.0, 51)
    assert largest_usual(values) == 30
    assert largest_usual(values[:40]) == 40
    assert largest_usual(values[:0]) == 0


def test_real_maps_are_far_from_spikes(real_data):
    for path in sorted(real_data.glob("maps_*/*/*.nii.gz"))[::5]:
        volume = read_volume(path, "MNI152")
        check_values(volume)
        known = np.abs(volume.data[np.isfinite(volume.data)])
        assert known.max() < SPIKE_FACTOR / 10 * largest_usual(known)


# masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [1, 255, 100, 0.99998, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_masks_of_one_number_are_read(inside, dtype, tmp_path):
    volume = read(np.where(brain(), np.float32(inside), 0), tmp_path, dtype)
    np.testing.assert_array_equal(inside_mask(volume), brain())


def test_probabilities_above_half_of_the_largest_are_inside(tmp_path):
    probability = np.zeros(SHAPE, np.float32)
    probability[2:9, 3:8, 4] = np.linspace(0.02, 0.9, 35).reshape(7, 5)
    for dtype in (np.float32, np.int16):
        inside = inside_mask(read(probability, tmp_path, dtype))
        np.testing.assert_array_equal(inside, probability > 0.45)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0, 1, 2, 3], r"3 different values other than 0 \(1, 2, 3\)"),
        (range(9), r"8 different values other than 0 \(1, 2, 3, 4, 5, \.\.\.\)"),
        ([-1, 1], "2 different values"),
        ([-1, 0], r"1 different values other than 0 \(-1\)"),
        ([0, np.inf], "1 different values"),
        ([0, 812.5, 3.5], "2 different values"),
        ([0], "no voxel inside"),
        ([np.nan], "no voxel inside"),
    ],
)
def test_what_is_no_mask_is_refused(values, found):
    data = np.resize(np.array(list(values), np.float32), SHAPE)
    with pytest.raises(VolumeError, match=rf"map\.nii: found {found}.*accepted: a mask"):
        inside_mask(volume_of(data))


def header_of(intent=0, description=b""):
    header = nib.Nifti1Header()
    header["intent_code"], header["descrip"] = intent, description
    return header


@pytest.mark.parametrize(
    ("intent", "stat"),
    [
        *[(0, ""), (3, "t"), (4, "f"), (5, "z"), (22, "p"), (24, "logp"), (1001, "effect")],
        *[(1002, "labels"), (1007, "vectors"), (2006, "warp"), (1011, ""), (2001, ""), (999, "")],
    ],
)
def test_intent_code_says_the_statistic(intent, stat):
    assert header_stat(header_of(intent)) == stat


@pytest.mark.parametrize(
    ("description", "stat"),
    [
        (b"SPM{T_[19.0]} - contrast 1: pain", "t"),
        (b"SPM{F_[2.0,19.0]}", "f"),
        (b"spm - contrast 1", ""),
        (b"\xff\xfeSPM{T_", ""),
    ],
)
def test_description_of_spm_says_it_where_the_intent_does_not(description, stat):
    assert header_stat(header_of(0, description)) == stat
    assert header_stat(header_of(5, description)) == "z"
    assert header_stat(nib.AnalyzeHeader()) == ""


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti1Pair, nib.Nifti2Image])
def test_maps_carry_what_their_header_says(tmp_path, write_map, image_class):
    path = tmp_path / ("map.img" if image_class is nib.Nifti1Pair else "map.nii.gz")
    image = image_class(np.ones((7, 8, 9), np.float32), np.diag([2.0, 3, 4, 1]))
    image.header.set_intent("t test", (12,))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"x" * 4000))
    image.to_filename(path)
    assert read_volume(path, "MNI152").stat == stated_stat(path) == "t"


def test_names_of_one_statistic_agree():
    assert same_stat("Z", "zstat")
    assert same_stat("tstat", "t")
    assert same_stat("cope", "effect")
    assert not same_stat("psc", "effect")
    assert name_stat(Path("stat-t/sub-01_stat-zscore_statmap.nii.gz")) == "zscore"
    assert name_stat(Path("con_0001.nii")) == ""


@pytest.mark.parametrize(
    ("stat", "wanted"),
    [
        *[("", "z"), ("z", "zstat"), ("t", "n/a"), ("t", ""), ("effect", "beta")],
        *[("effect", "psc"), ("p", "p"), ("effect", "variance"), ("z", "falff")],
    ],
)
def test_statistics_that_fit(stat, wanted):
    assert stat_fault(stat, wanted, "a.nii") is None


@pytest.mark.parametrize(
    ("stat", "wanted", "words"),
    [
        ("p", "z", "p values"),
        ("p", "n/a", "p values"),
        ("logp", "falff", "logarithms of p values"),
        ("t", "z", "t values"),
        ("effect", "z", "estimates (effects)"),
        ("z", "effect", "z values"),
        ("labels", "n/a", "labels"),
        ("vectors", "z", "vectors"),
        ("chi2", "F", "chi-squared"),
    ],
)
def test_statistics_that_do_not_fit(stat, wanted, words):
    fault = stat_fault(stat, wanted, "a.nii")
    assert fault is not None
    assert fault.found.startswith(f"a map whose header says {words}")
    assert fault.accepted == (
        "a map of a statistic or effect" if wanted == "n/a" else f"'{wanted}'"
    )


def test_maps_of_a_cohort_have_one_statistic():
    names = ["a", "b_stat-t", "c_stat-z", "d", "e"]
    scans = [Scan(name, name, (Path(f"{name}.nii"),), "MNI152") for name in names]
    said = {"a": ("z",), "b_stat-t": ("",), "c_stat-z": ("z",), "d": ("t",), "e": ("p",)}
    assert [f.participant_id for f in stat_faults(scans, said, "z")] == ["b_stat-t", "d", "e"]
    assert [f.participant_id for f in stat_faults(scans, said, "n/a")] == ["d", "e"]
    assert [f.participant_id for f in stat_faults(scans, {"a": ("t",)}, "effect")] == ["a"]
    assert stat_faults(scans, {}, "z") == []


@pytest.mark.parametrize("fraction", [0.03, 0.08])
def test_number_that_fills_a_part_of_many_values_is_found(fraction):
    values = np.random.default_rng(0).normal(size=250_001).astype(np.float32)
    n_filled = int(fraction * len(values))
    values[1000 : 1000 + n_filled] = 0.25
    assert find_fill(values) == (0.25 if fraction > 0.05 else None)
