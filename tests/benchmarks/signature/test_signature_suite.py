"""The configuration that is run, cut down."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.fresh_process import Cost
from benchmarks.signature import signature as suite
from benchmarks.signature.believed import HalvesPart
from benchmarks.signature.spatial import SpatialPart
from benchmarks.signature.studies import DrawnPart
from benchmarks.suite import run_suite
from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.errors import ConfigError
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def compose(*changes):
    return check_config(CONFIGS, "benchmark", ["suite=signature_quick", *changes], run_suite)


def run(out, *changes):
    return run_suite(**build(compose(f"out={out}", *changes)))


def test_maps_are_compared_and_not_made_again(tmp_path, monkeypatch):
    changes = [
        "suite.only=[truth]",
        "suite.parts.truth.regimes=[aligned]",
        "suite.parts.truth.makers=[oracle,difference,network]",
        "suite.parts.truth.n_permutations=3",
    ]
    lines = run(tmp_path, *changes)
    assert lines[-1] == str(tmp_path)
    table = pd.read_csv(tmp_path / "truth" / "truth.tsv", sep="\t")
    assert {"oracle", "t", "standard_weights", "z", "surrogate", "difference"} <= set(table["map"])
    assert table["average_precision"].between(0, 1).all()

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(suite, "measure_unit", refuse)
    again = run(tmp_path, *changes, "suite.parts.truth.wanted=0.5")
    assert again[:-2] == lines[:-2]  # but for the goal


def test_halves_surrogate_and_spatial_null_are_measured(tmp_path, monkeypatch):
    def measure_here(work, *arguments):  # a fresh process takes seconds to import what it needs
        work(*arguments)
        return Cost(1.5, 20.0)

    monkeypatch.setattr("benchmarks.signature.spatial.measure_alone", measure_here)
    run(tmp_path, "suite.only=[halves,surrogate,spatial]", "suite.parts.halves.n_splits=1")
    halves = pd.read_csv(tmp_path / "halves" / "halves.tsv", sep="\t")
    assert set(halves["measure"]) == {"voxel_r", "region_r", "dice", "icc"}
    surrogate = pd.read_csv(tmp_path / "surrogate" / "surrogate.tsv", sep="\t")
    assert surrogate["r2"].between(0.3, 1.0001).all()
    cost = pd.read_csv(tmp_path / "spatial" / "cost.tsv", sep="\t")
    assert cost[["took_s", "peak_mb"]].to_numpy().tolist() == [[1.5, 20.0]]


def test_a_study_says_whether_a_map_is_drawn(tmp_path):
    run(
        tmp_path,
        'suite.only=["null"]',
        "suite.parts.null.n_cohorts.null=1",
        "suite.parts.null.amplitude_scale=8",
        "suite.parts.null.plan.n_halves=1",
    )
    table = pd.read_csv(tmp_path / "null" / "drawn.tsv", sep="\t", keep_default_na=False)
    assert table["regime"].tolist() == ["null", "aligned"]
    assert table.loc[0, "drawn"] == 0
    (unit,) = (tmp_path / "units").glob("null_aligned-*.tsv")
    assert pd.read_csv(unit, sep="\t").loc[0, "auc"] > 0.9


def test_network_is_that_of_a_study():
    config = check_config(CONFIGS, "benchmark", ["suite=signature", "out=there"], run_suite)
    study = check_config(CONFIGS, "train", [], run_study, passed=("config_yaml",))
    assert config.suite.contender.build_network == study.network
    assert config.suite.contender.preparation == study.preparation
    assert list(config.suite.parts) == ["truth", "halves", "surrogate", "null", "time", "spatial"]


def test_unknown_part_is_refused():
    with pytest.raises(ConfigError, match=r"suite\.only"):
        build(compose("out=there", "suite.only=[truths]"))


def test_code_that_is_named_is_there():
    config = check_config(CONFIGS, "benchmark", ["suite=signature", "out=there"], run_suite)
    built = build(config)["suite"]
    for part in built.parts.values():
        for path in {path for cell in part.cells() for path in part.code(cell)}:
            assert (suite.ROOT / path).exists(), path


def test_false_positives_are_counted_by_pair_of_widths():
    rows = pd.DataFrame(
        {
            "what": "pairs", "one_mm": 8.0, "other_mm": [8.0] * 20 + [20.0] * 20,
            "pair": [*range(20)] * 2, "p": [0.01] * 10 + [0.5] * 30, "naive_p": 0.001,
        }
    )  # fmt: skip
    cost = pd.DataFrame([{"what": "cost", "took_s": 70.0, "peak_mb": 90.0}])
    part = SpatialPart(n_pairs=20)
    tables = part.summarise(pd.concat([rows, cost]))
    assert tables["spatial"]["rate"].tolist() == [0.5, 0.0]
    assert tables["spatial"]["naive"].tolist() == [1.0, 1.0]
    assert [goal.is_reached for goal in part.goals(tables)] == [False, True, False]


def test_maps_that_are_drawn_are_counted():
    rows = pd.DataFrame(
        {
            "regime": ["null"] * 20 + ["aligned"] * 2,
            "is_drawn": [1, 1] + [0] * 18 + [1, 0],
            "halves_passed": ["True", "True"] + ["False"] * 18 + ["True", np.nan],
        }
    )
    part = DrawnPart()
    tables = part.summarise(rows)
    table = tables["drawn"].set_index("regime")
    assert table.loc["null", "drawn"] == 2
    assert table.loc["aligned", ["halves_passed", "halves_examined"]].tolist() == [1.0, 1]
    assert not part.goals(tables)[0].is_reached


def test_halves_are_beyond_their_null_where_p_is_small():
    rows = pd.DataFrame(
        {"regime": "aligned", "measure": "dice", "observed": [0.2, 0.4], "p": [0.01, 0.5],
         "null_mean": 0.1, "null_95": 0.3}
    )  # fmt: skip
    (row,) = HalvesPart().summarise(rows)["halves"].to_dict("records")
    assert (row["observed"], row["beyond_null"]) == pytest.approx((0.3, 0.5))
