from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks import rest
from benchmarks.rest import Contender, Draw, RestBenchmark
from benchmarks.rest_tables import spread, summarise
from fmnet.baselines.shortcuts import Columns
from fmnet.bold.settings import CleaningSettings
from fmnet.errors import ConfigError
from fmnet.networks.series import build_learned_seeds

BANDS = ((0.0, 36.0),)
SUITE = RestBenchmark(
    {
        "seeds": Contender(
            partial(build_learned_seeds, n_seeds=3, voxel_size_mm=12, bands_mm=BANDS),
        )
    },
    {"motion": Columns(columns=("mean_framewise_displacement",))},
    couplings=(0.0, 0.4),
    n_subjects=16,
    n_volumes=64,
    cleaning=CleaningSettings(strategy="motion6"),
    maps=("alff",),
    n_draws=1,
)


def units(**columns):
    return pd.DataFrame({"model": "a", "coupling": 0.3, "auc": 0.5, "seconds": 1.0} | columns)


@pytest.mark.slow
def test_every_model_is_scored_on_every_cohort_and_once_only(tmp_path, monkeypatch):
    lines = SUITE.run(tmp_path)
    table = pd.read_csv(tmp_path / "rest.tsv", sep="\t")
    assert sorted(zip(table["model"], table["coupling"], strict=True)) == [
        ("motion", 0.0),
        ("motion", 0.4),
        ("seeds", 0.0),
        ("seeds", 0.4),
    ]
    # the same people move alike, whatever the difference in coupling
    motion = table[table["model"] == "motion"]["mean_auc"]
    assert motion.nunique() == 1
    assert table["mean_auc"].between(0, 1).all()
    assert "| seeds |" in (tmp_path / "rest.md").read_text()

    def fail(*_):
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr(rest, "_score_draw", fail)
    assert SUITE.run(tmp_path) == lines


def test_other_settings_have_other_files(tmp_path):
    draw = Draw(0.4, 0.0, 0)
    variants = [
        SUITE,
        replace(SUITE, cleaning=CleaningSettings()),
        replace(SUITE, n_volumes=65),
        replace(SUITE, seed=1),
        replace(SUITE, maps=("falff",)),
        replace(SUITE, contenders={"seeds": replace(SUITE.contenders["seeds"], max_epochs=3)}),
    ]
    assert len({suite._path(draw, "seeds", tmp_path) for suite in variants}) == len(variants)


def test_cohorts_of_one_number_differ_in_coupling_alone():
    one, other = (SUITE.design(Draw(coupling, 0.0, 3)).parameters for coupling in (0.0, 0.4))
    assert {name for name in one if one[name] != other[name]} == {"coupling"}
    assert SUITE.design(Draw(0.0, 0.0, 4)).seed != one["seed"]


def test_unknown_and_double_names_are_refused():
    with pytest.raises(ConfigError, match=r"suite.only: found 'cnn'; accepted: motion, seeds"):
        replace(SUITE, only=("cnn",))
    with pytest.raises(ConfigError, match="'seeds' twice"):
        replace(SUITE, baselines={"seeds": Columns()})


def test_means_have_intervals_over_cohorts():
    summary = summarise(units(auc=[0.5, 0.6, 0.7]))
    assert summary["n_draws"].tolist() == [3]
    assert summary["mean_auc"][0] == pytest.approx(0.6)
    half = 4.302653 * 0.1 / np.sqrt(3)  # of Student's t with 2 degrees of freedom
    assert summary["ci_low"][0] == pytest.approx(0.6 - half, abs=1e-5)


def test_table_has_models_in_rows_and_sorted_differences_in_columns():
    parts = [units(model=[name], coupling=size) for size in (0.3, 0.0) for name in ("b", "a")]
    table = spread(summarise(pd.concat(parts)))
    assert (table.index.tolist(), table.columns.tolist()) == (["b", "a"], ["0", "0.3", "seconds"])
