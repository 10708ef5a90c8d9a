from functools import partial

import pandas as pd
import pytest

from benchmarks import stem_costs
from benchmarks.stem_costs import StemCosts
from fmnet.networks.series import build_learned_seeds


def test_every_way_is_measured_for_every_length(tmp_path, monkeypatch, measure_here):
    measure_here("benchmarks.stem_costs")
    # the threads of this process are those of the tests to come as well
    monkeypatch.setattr(stem_costs.torch, "set_num_threads", lambda _: None)
    build = partial(build_learned_seeds, n_seeds=2, voxel_size_mm=12, bands_mm=((0.0, 36.0),))
    lines = StemCosts({"seeds": build}, (7, 8, 9), (20, 30), 1).run(tmp_path)
    table = pd.read_csv(tmp_path / "stem_costs.tsv", sep="\t")
    assert table["volumes"].tolist() == [20, 20, 20, 30, 30, 30]
    assert table["way"].nunique() == 3
    assert (table["seconds"] > 0).all()
    assert table["run_mb"][0] == pytest.approx(4 * 20 * 7 * 8 * 9 / 1e6)
    assert any("seeds" in line for line in lines)
