import nibabel as nib
import numpy as np
import pytest
from cohort_fixtures import with_labels
from nilearn.connectome import ConnectivityMeasure
from nilearn.image import resample_img
from sklearn.metrics import roc_auc_score

from fmnet.baselines import connectivity
from fmnet.baselines.base import score_fold
from fmnet.baselines.connectivity import Connectivity, network_series, read_regions, region_series
from fmnet.data.grid import Grid
from fmnet.errors import ConfigError

KINDS = ["tangent", "correlation", "partial correlation"]
TRAIN, TEST = np.arange(20), np.arange(20, 30)


def first_axes(series, n_networks, seed):
    """Stand in for the search for networks: the principal axes of all volumes."""
    volumes = np.nan_to_num(np.concatenate([np.asarray(one) for one in series]))
    return np.linalg.svd(volumes - volumes.mean(axis=0), full_matrices=False)[2][:n_networks]


@pytest.fixture
def searches(monkeypatch):
    """Every search for networks, as the number of scans it was given."""
    found = []

    def search(series, n_networks, seed):
        found.append(len(series))
        return first_axes(series, n_networks, seed)

    monkeypatch.setattr(connectivity, "find_networks", search)
    return found


@pytest.fixture
def atlas(tmp_path_factory, build_data):
    grid = build_data().cohort.grid
    labels = grid.unmask(np.repeat([3.0, 4.0, 9.0], 70).astype(np.float32))
    path = tmp_path_factory.mktemp("atlas") / "labels.nii.gz"
    nib.Nifti1Image(labels, grid.affine).to_filename(path)
    return str(path)


def mean_auc(model, build_bold, fold, coupling) -> float:
    """Over three cohorts: ten test people alone say little."""
    aucs = []
    for seed in range(3):
        data = build_bold(coupling, seed=seed)
        aucs.append(roc_auc_score(data.labels[TEST], score_fold(model, data, fold).score))
    return float(np.mean(aucs))


def spoil_test(row, values):
    """Couple the outer networks, louder, where rows don't train."""
    return values if row < 20 else 9 * (values + 0.5 * values[:, ::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_coupling_is_found_with_an_atlas(build_bold, fold, atlas, kind):
    assert mean_auc(Connectivity(kind=kind, atlas=atlas), build_bold, fold, 0.7) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_coupling_is_found_in_networks(build_bold, fold, searches, kind):
    assert mean_auc(Connectivity(kind=kind, n_networks=3), build_bold, fold, 0.7) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_where_there_is_nothing(build_bold, fold, atlas, kind):
    assert 0.15 < mean_auc(Connectivity(kind=kind, atlas=atlas), build_bold, fold, 0.0) < 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_how_large_signals_are_is_no_connection(build_bold, fold, atlas, kind):
    data = build_bold(spoil=lambda row, values: values * (1 + 20 * (row % 2)))
    plain = build_bold()
    model = Connectivity(kind=kind, atlas=atlas)
    np.testing.assert_allclose(
        score_fold(model, data, fold).score, score_fold(model, plain, fold).score, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_test_scans_change_nothing_that_is_learned(build_bold, fold, searches, kind):
    """Scores of one half of the test scans, where the other half, and all labels, are spoilt."""
    model = Connectivity(kind=kind, n_networks=3)

    def spoil_half(row, values):
        return spoil_test(row, values) if row >= 25 else values

    plain, spoilt = build_bold(0.5), build_bold(0.5, spoil_half)
    spoilt = with_labels(spoilt, np.where(np.arange(30) < 20, spoilt.labels, 1 - spoilt.labels))
    assert model.choose(plain, fold) == model.choose(spoilt, fold)
    one, other = score_fold(model, plain, fold), score_fold(model, spoilt, fold)
    np.testing.assert_array_equal(one.score[:5], other.score[:5])
    np.testing.assert_array_equal(one.probability[:5], other.probability[:5])
    assert (one.score[5:] != other.score[5:]).all()


def test_networks_come_from_training_scans_alone(build_bold, monkeypatch):
    given = []

    def search(series, n_networks, seed):
        given.append(([np.array(one) for one in series], n_networks, seed))
        return first_axes(series, n_networks, seed)

    monkeypatch.setattr(connectivity, "find_networks", search)
    data, train = build_bold(), np.array([2, 5, 11, 17])
    Connectivity(n_networks=4, seed=7).connections(data, train)
    ((series, n_networks, seed),) = given
    assert (n_networks, seed) == (4, 7)
    for row, values in zip(train, series, strict=True):
        np.testing.assert_array_equal(values, data.series[row].values())


def test_tangent_reference_is_that_of_the_training_scans(build_bold, atlas):
    model, plain, spoilt = Connectivity(atlas=atlas), build_bold(), build_bold(spoil=spoil_test)
    one, other = model.connections(plain, TRAIN), model.connections(spoilt, TRAIN)
    np.testing.assert_array_equal(one[TRAIN], other[TRAIN])
    everybody = model.connections(spoilt, np.arange(30))
    assert np.abs(everybody[TRAIN] - one[TRAIN]).max() > 0.01
    np.testing.assert_allclose(one[TRAIN].mean(axis=0), 0, atol=1e-4)


def test_nothing_is_learned_twice_within_a_fold(build_bold, fold, searches, monkeypatch):
    fits = []
    fit = ConnectivityMeasure.fit
    monkeypatch.setattr(
        ConnectivityMeasure, "fit", lambda self, x: (fits.append(len(x)), fit(self, x))[1]
    )
    data = build_bold()
    score_fold(Connectivity(n_networks=3), data, fold)
    assert sorted(searches) == sorted(fits) == [10, 10, 20]
    score_fold(Connectivity("correlation", n_networks=3), data.relabel(data.cohort), fold)
    assert len(searches) == 3
    assert len(fits) == 6


def test_results_are_the_same_each_time(build_bold, fold, searches):
    model = Connectivity(n_networks=3)
    np.testing.assert_array_equal(
        score_fold(model, build_bold(0.3), fold).score,
        score_fold(model, build_bold(0.3), fold).score,
    )


def test_sizes(build_bold, atlas, searches):
    data = build_bold()
    shapes = [Connectivity(kind, 5).connections(data, TRAIN).shape for kind in KINDS]
    assert shapes == [(30, 15), (30, 10), (30, 10)]
    assert Connectivity(atlas=atlas).connections(data, TRAIN).shape == (30, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_region_that_a_scan_lacks_does_no_harm(build_bold, fold, atlas, kind):
    def cut(row, values):
        values[:, :70] = np.nan if row in {4, 23} else values[:, :70]
        return values

    scores = score_fold(Connectivity(kind=kind, atlas=atlas), build_bold(0.5, cut), fold)
    assert np.isfinite(scores.score).all()


def test_says_what_is_lacking(build_data, build_bold):
    assert Connectivity().lacks(build_data()) == "time series: a cohort of BOLD runs"
    assert Connectivity().lacks(build_bold()) == ""
    assert Connectivity(n_networks=2).lacks(build_bold()) == "3 networks or more (n_networks)"


def test_atlas_is_checked_first(build_bold, build_data, atlas, tmp_path):
    assert Connectivity(atlas=atlas).lacks(build_bold()) == ""
    path = tmp_path / "one.nii.gz"
    nib.Nifti1Image(np.ones((7, 8, 9), np.float32), build_data().cohort.grid.affine).to_filename(
        path
    )
    with pytest.raises(ConfigError, match="1 regions with a voxel in the mask"):
        Connectivity(atlas=str(path)).lacks(build_bold())


@pytest.fixture
def grid():
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -12, -14, -16
    return Grid(mask, affine, "MNI152")


@pytest.fixture
def write_atlas(tmp_path):
    def write(labels, affine):
        path = tmp_path / "atlas.nii.gz"
        nib.Nifti1Image(np.asarray(labels, dtype=np.float32), affine).to_filename(path)
        return path

    return write


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def standardised(courses):
    return (courses - courses.mean(axis=0)) / courses.std(axis=0)


def test_network_courses_are_found_beside_what_all_voxels_share(rng):
    maps = rng.normal(size=(3, 210)).astype(np.float32)
    courses = rng.normal(size=(50, 3))
    shared = 20 * rng.normal(size=(50, 1))
    values = (courses @ maps + shared).astype(np.float32)
    values[:, 30:40] = np.nan
    values[:25, 50:60] = np.nan
    maps[:, 70:80] = 0
    np.testing.assert_allclose(network_series(values, maps), standardised(courses), atol=1e-4)


def test_region_courses_are_means_of_what_is_known(rng):
    values = rng.normal(size=(40, 12)).astype(np.float32)
    regions = np.array([0, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2, 2])
    values[:, 1] = np.nan
    values[5, 4] = np.nan
    values[:, 8:] = np.nan
    found = region_series(values, regions)
    np.testing.assert_allclose(found[:, 0], standardised(values[:, [0, 2]].mean(axis=1)), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], standardised(values[:, [5, 6]].mean(axis=1)), atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], 0)


def test_atlas_is_put_on_the_grid_by_nearest_neighbour(grid, write_atlas, rng):
    """As nilearn does, from another voxel size, to the left first, with labels far apart."""
    labels = rng.choice([0, 3, 70, 2001, 2002], size=(11, 12, 10))
    affine = np.diag([-3.0, 3.0, 3.5, 1.0])
    affine[:3, 3] = 15.1, -17.2, -18.3
    path = write_atlas(labels, affine)
    expected = resample_img(
        nib.load(path), grid.affine, grid.shape, interpolation="nearest",
        force_resample=True, copy_header=True,
    ).get_fdata()[grid.mask]  # fmt: skip
    regions = read_regions(path, "MNI152", grid)
    numbered = np.searchsorted([0, 3, 70, 2001, 2002], expected) - 1
    assert set(regions) == {-1, 0, 1, 2, 3}
    np.testing.assert_array_equal(regions, numbered)


def test_regions_without_a_voxel_are_dropped(grid, write_atlas):
    labels = np.zeros((7, 8, 9))
    labels[0] = 5  # outside the mask
    labels[1:3], labels[3:5], labels[5:] = 2, 9, 7
    found = read_regions(write_atlas(labels, grid.affine), "MNI152", grid)
    assert sorted(set(found)) == [0, 1, 2]


def test_voxels_beyond_the_atlas_belong_to_no_region(grid, write_atlas):
    labels = np.arange(3 * 8 * 9).reshape(3, 8, 9) % 4 + 1
    regions = read_regions(write_atlas(labels, grid.affine), "MNI152", grid)
    assert (regions == -1).mean() == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.full((7, 8, 9), 0.5), "no whole numbers from 0 on"),
        (np.full((7, 8, 9), -1), "no whole numbers from 0 on"),
        (np.ones((7, 8, 9)), r"1 regions with a voxel in the mask; accepted: 3 or more"),
    ],
)
def test_what_is_no_atlas_is_refused(grid, write_atlas, labels, said):
    path = write_atlas(labels, grid.affine)
    with pytest.raises(ConfigError, match=said):
        read_regions(path, "MNI152", grid)
