"""The configuration that is run, cut down."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.suite import run_suite
from benchmarks.targets import targets as suite
from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
#: What takes no time.
QUICK = ["suite.build_network.paths=[focal]", "~suite.baselines.covariates"]


def run(out, *changes):
    lines = ["suite=targets", f"out={out}", *QUICK, *changes]
    return run_suite(**build(check_config(CONFIGS, "benchmark", lines, run_suite)))


def test_null_trials_are_counted_and_gone_on_with(tmp_path, monkeypatch):
    changes = ["suite.only=[nulls]", "suite.parts.nulls.kinds=[severity,response]"]
    changes += ["suite.parts.nulls.n_people=40", "suite.parts.nulls.n_permutations=3"]
    run(tmp_path, *changes, "suite.parts.nulls.n_trials=2")
    table = pd.read_csv(tmp_path / "nulls" / "nulls.tsv", sep="\t")
    assert set(table["target"]) == {"severity", "response"}
    assert (table["trials"] == 2).all()

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(suite, "measure_unit", refuse)
    run(tmp_path, *changes, "suite.parts.nulls.n_trials=1")  # fewer of the same
    assert (pd.read_csv(tmp_path / "nulls" / "nulls.tsv", sep="\t")["trials"] == 1).all()


def test_planted_effects_are_found_most_by_what_knows_them(tmp_path):
    effects = "suite.parts.truth.effects={severity: 0.9, classes: 3.0}"
    run(tmp_path, "suite.only=[truth]", effects, "suite.parts.truth.sizes=[60]",
        "suite.parts.truth.n_trials=1")  # fmt: skip
    table = pd.read_csv(tmp_path / "truth" / "truth.tsv", sep="\t").set_index(["name", "model"])
    for name in ("severity, n=60", "classes, n=60"):
        figures = table.loc[name]["mean"]
        assert figures["oracle"] > figures["voxel_ridge"]
        assert figures["oracle"] > 0.6


def test_traps_tasks_and_sessions_are_measured(tmp_path):
    changes = ["suite.only=[trap,tasks,sessions]", "suite.parts.trap.n_trials=1"]
    changes += ["suite.parts.trap.n_people=60", "suite.parts.trap.n_permutations=2"]
    changes += ["suite.parts.tasks.n_trials=1", "suite.parts.tasks.n_people=60"]
    run(tmp_path, *changes, "suite.parts.sessions.n_draws=20")
    trap = pd.read_csv(tmp_path / "trap" / "trap.tsv", sep="\t")
    assert (trap["called_moderator"] == 0).all()  # p of two permutations is 1 / 3 at least
    tasks = pd.read_csv(tmp_path / "tasks" / "tasks.tsv", sep="\t", dtype={"name": str})
    assert {"gain of fm", "gain of oa", "fm to oa", "oa to fm"} < set(tasks["what"])
    sessions = pd.read_csv(tmp_path / "sessions" / "sessions.tsv", sep="\t")
    assert (sessions["inside"] > 0.6).all()


def test_a_part_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        run(tmp_path, "suite.only=[nowhere]")
