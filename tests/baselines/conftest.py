"""Time series of thirty people, with three networks and noise, of runs that differ in length."""

import numpy as np
import pytest

from fmnet.data.scans import Series
from fmnet.training.scan_set import MapScans

N, V = 30, 210
#: Networks lie on voxels 0 to 69, 70 to 139 and 140 to 209.
MAPS = np.repeat(np.eye(3, dtype=np.float32), 70, axis=1)


def draw_courses(rng, n_volumes, coupling):
    """Three courses with something in common, of which the first two are correlated beyond that.

    Where nothing is correlated at all, covariances are shrunk until nothing is left of them.
    """
    courses = rng.normal(size=(n_volumes, 3))
    courses[:, 1] = coupling * courses[:, 0] + np.sqrt(1 - coupling**2) * courses[:, 1]
    return courses + 0.7 * rng.normal(size=(n_volumes, 1))


@pytest.fixture
def build_bold(build_data, tmp_path):
    """Baseline data of BOLD runs; every other person has the coupling given, the rest none."""

    def build(coupling=0.0, spoil=None, seed=0, **more) -> MapScans:
        rng, series = np.random.default_rng(seed), []
        for row in range(N):
            n_volumes = 60 + row % 7
            courses = draw_courses(rng, n_volumes, coupling * (row % 2))
            values = courses @ MAPS + 0.5 * rng.normal(size=(n_volumes, V))
            values[:, row : row + 5] = np.nan
            if spoil is not None:
                values = spoil(row, values)
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
            np.save(path, values.astype(np.float32))
            series.append(Series((path,), (n_volumes,), 2.0))
        maps = build_data(**more)
        return MapScans(maps.cohort, maps.values, maps.settings, tuple(series))

    return build
