import warnings

import numpy as np
import pytest
from nilearn.reporting import get_clusters_table
from scipy.ndimage import gaussian_filter

from fmnet.data.nifti import to_image
from fmnet.data.signature_map import SignatureMap
from fmnet.data.tables import write_table
from fmnet.signature.regions import Atlas
from fmnet.signature.tables import cluster_table, region_table


def map_of(grid, volumes):
    """A map of z values with contrasts a, b ... from volumes, (C, X, Y, Z)."""
    values = np.stack([volume[grid.mask] for volume in volumes]).astype(np.float32)
    names = tuple("abc"[: len(values)])
    return SignatureMap(values, grid, names, "z", "z", "positive: more in FM", "ridge", "final", 40)


@pytest.fixture
def halves(grid):
    regions = np.zeros(grid.shape, np.int32)
    regions[:3], regions[4:] = 3, 8
    return Atlas(
        np.where(grid.mask, regions, 0).astype(np.int32), {3: "Left half", 8: "Right half"}
    )


def test_a_blob_on_the_left_is_reported_on_the_left(grid, halves):
    volume = np.zeros(grid.shape)
    volume[1, 3:5, 4] = 4, 5  # x is -40 mm
    volume[5, 5, 6] = -3  # x is 40 mm
    table = cluster_table(map_of(grid, [volume]), 2, halves, directions=("more in FM", "less"))
    left, right = table.to_dict("records")
    assert (left["x_mm"], left["y_mm"], left["z_mm"]) == (-40, 0, 10)
    assert (left["region"], left["regions"]) == ("Left half", "Left half 100%")
    assert (left["direction"], left["peak"], left["n_voxels"]) == ("more in FM", 5, 2)
    assert left["size_mm3"] == 2 * 20**3
    assert (right["x_mm"], right["region"], right["direction"]) == (40, "Right half", "less")
    means = region_table(map_of(grid, [volume]), halves).set_index("region")
    assert means.loc["Left half", "mean"] == pytest.approx(9 / (halves.regions == 3).sum())
    assert means.loc["Right half", "mean"] < 0
    assert means.loc["Left half", "x_mm"] < 0 < means.loc["Right half", "x_mm"]


def test_clusters_are_those_of_nilearn(grid, rng):
    volume = gaussian_filter(rng.normal(size=grid.shape), 1) * 8 * grid.mask
    table = cluster_table(map_of(grid, [volume]), 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_clusters_table(
            to_image(volume.astype(np.float32), grid.affine), 1.5, two_sided=True
        )
    theirs = theirs[theirs["Cluster Size (mm3)"] != ""]
    assert len(table) == len(theirs) > 3
    ours = table[["x_mm", "y_mm", "z_mm", "peak", "size_mm3"]].to_numpy(float)
    wanted = theirs[["X", "Y", "Z", "Peak Stat", "Cluster Size (mm3)"]].to_numpy(float)
    np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_p_values_and_contrasts(grid):
    one, other = np.zeros(grid.shape), np.zeros(grid.shape)
    one[2:4, 3, 4] = 3
    other[2, 3:6, 4] = -2
    p = np.ones((2, grid.n_voxels))
    p[1][other[grid.mask] != 0] = 0.2, 0.03, 0.2
    table = cluster_table(map_of(grid, [one, other]), p_values=p)
    assert table["contrast"].tolist() == ["a", "b"]
    assert table["cluster"].tolist() == [1, 1]
    assert table["n_voxels"].tolist() == [2, 3]
    assert table["p"].tolist() == [1, 0.03]
    assert table["direction"].tolist() == ["positive", "negative"]
    assert table["region"].str.startswith("left, middle, mid-height; -20 ").all()
    assert np.isnan(cluster_table(map_of(grid, [one]))["p"]).all()


def test_a_cluster_in_several_regions_names_them(grid, halves):
    volume = np.zeros(grid.shape)
    volume[1:5, 3, 4] = 1, 2, 4, 3  # one voxel of four lies between the halves, with the peak
    (row,) = cluster_table(map_of(grid, [volume]), 0, halves).to_dict("records")
    assert row["region"] == "no region"
    assert row["regions"] == "Left half 50%; Right half 25%"


def test_shares_of_regions_add_up_and_come_first_the_largest(grid, halves, rng, tmp_path):
    volumes = rng.normal(size=(2, *grid.shape))
    volumes[1, :3] *= 5
    signature = map_of(grid, volumes)
    table = region_table(signature, halves)
    assert table["contrast"].tolist() == ["a", "a", "b", "b"]
    assert table["region"].tolist()[2:] == ["Left half", "Right half"]
    sizes = np.abs(signature.volume).sum(axis=(1, 2, 3))
    middle = np.abs(signature.volume[:, 3]).sum(axis=(1, 2)) / sizes
    shares = table.groupby("contrast")["share"].sum()
    np.testing.assert_allclose(shares, 1 - middle, rtol=1e-5)
    write_table(table, tmp_path / "regions.tsv")
    header = (tmp_path / "regions.tsv").read_text().splitlines()[0]
    assert header.split("\t")[:3] == ["contrast", "label", "region"]


def test_an_empty_map_has_no_clusters_and_no_direction(grid, halves):
    nothing = map_of(grid, [np.zeros(grid.shape)])
    table = cluster_table(nothing, atlas=halves)
    assert table.empty
    assert "size_mm3" in table
    regions = region_table(nothing, halves)
    assert regions["direction"].tolist() == ["none", "none"]
    assert regions["share"].tolist() == [0, 0]
