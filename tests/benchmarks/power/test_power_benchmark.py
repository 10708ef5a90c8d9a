import json
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest

from benchmarks.power import units
from benchmarks.power.contender import Contender, NetworkRacer, draw_folds, mean_auc
from benchmarks.power.planted import Planter
from benchmarks.power.power import PowerBenchmark
from benchmarks.power.regimes import AMPLITUDES
from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import build_small_cnn
from fmnet.training.compute import Compute
from fmnet.training.fit import ADAMW
from fmnet.training.trainer import CPU_TRAINER


def contender(max_epochs=1, lr=1e-3):
    return Contender(
        partial(build_small_cnn, channels=(2, 4)),
        max_epochs,
        partial(ADAMW, lr=lr),
        PreparationSettings(voxel_size_mm=8),
    )


SUITE = PowerBenchmark(
    {"tiny": contender()},
    {"linear_svm": LinearSvm(fwhm_mm=(8.0,), c=(1.0,))},
    n_synthetic=14,
    voxel_size_mm=8,
    regimes=("null", "aligned"),
    n=(20,),
    n_draws=1,
)


@pytest.fixture
def scored(monkeypatch):
    """Which units are worked on."""
    found = []
    score = units.score_unit

    def note(work, unit):
        found.append((unit.regime, unit.number, unit.model))
        return score(work, unit)

    monkeypatch.setattr(units, "score_unit", note)
    return found


def test_goes_on_with_what_is_done_and_recomputes_what_changed(tmp_path, scored):
    lines = SUITE.run(tmp_path)
    models = ["oracle", "linear_svm", "tiny"]
    assert scored == [(regime, 0, model) for regime in ("null", "aligned") for model in models]
    scored.clear()
    assert SUITE.run(tmp_path) == lines
    assert scored == []
    more = {"tiny": contender(), "other": contender(lr=1e-2)}
    replace(SUITE, contenders=more, regimes=("aligned",)).run(tmp_path)
    assert scored == [("aligned", 0, "other")]
    scored.clear()
    changed = {"tiny": contender(weight_decay=0.1)}
    replace(SUITE, contenders=changed, regimes=("aligned",)).run(tmp_path)
    assert scored == [("aligned", 0, "tiny")]
    scored.clear()
    replace(SUITE, amplitudes={"aligned": 3.0}, only=[]).run(tmp_path)
    assert scored == [("aligned", 0, "oracle"), ("aligned", 0, "linear_svm")]
    assert SUITE.run(tmp_path) == lines


def test_leaves_tables_and_an_account(tmp_path):
    suite = replace(SUITE, n_synthetic=20, n_draws=2, only=[])
    suite = replace(suite, regimes=("null", "two_contrasts"))
    lines = suite.run(tmp_path)
    table = pd.read_csv(tmp_path / "power.tsv", sep="\t", keep_default_na=False)
    assert table["model"].tolist() == 2 * ["oracle", "linear_svm"]
    null = table[table["regime"] == "null"].set_index("model")
    assert float(null.at["oracle", "mean_auc"]) == 0.5
    assert (table["n_draws"] == 2).all()
    account = json.loads((tmp_path / "settings.json").read_text("utf-8"))
    assert account["amplitudes"] == AMPLITUDES
    assert account["settings"]["contenders"]["tiny"]["max_epochs"] == 1
    assert {"command", "device", "versions", "date"} <= set(account)
    assert any(line.startswith("two_contrasts") for line in lines)
    (unit,) = (tmp_path / "units").glob("null_n-20_draw-001_oracle-*.tsv")
    row = units.read_unit(unit).loc[0]
    assert (row["regime"], row["draw"], row["auc"]) == ("null", 1, 0.5)
    assert row["seconds"] > 0


def test_a_contender_is_cross_validated_in_the_folds_of_all_others(backgrounds):
    drawn = Planter(backgrounds, AMPLITUDES | {"aligned": 50.0}).draw("aligned", 20, 0)
    racer = NetworkRacer(contender(max_epochs=8, lr=1e-2), CPU_TRAINER, Compute())
    folds = draw_folds(drawn)
    found = racer.predict(drawn, folds)
    for fold in folds:
        rows = found[found["fold"] == fold.fold]
        assert tuple(rows["participant_id"]) == fold.test
    assert len(found) == 20
    assert mean_auc(found) > 0.8


def test_auc_is_the_mean_over_folds():
    """Each fold is in perfect order or its reverse; pooled, scores would be in no order."""
    table = pd.DataFrame(
        {"fold": [0, 0, 1, 1], "label": [0, 1, 0, 1], "score": [10.0, 11.0, 0.0, -1.0]}
    )
    assert mean_auc(table) == 0.5
    assert mean_auc(table[table["fold"] == 0]) == 1.0
    assert pd.isna(mean_auc(table[:0]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"regimes": ["aligned", "lined"]}, r"suite\.regimes: found 'lined'; accepted: null, al"),
        ({"amplitudes": {"lined": 1.0}}, r"suite\.amplitudes: found 'lined'"),
        ({"only": ["tiny", "teeny"]}, r"suite\.only: found 'teeny'; accepted: tiny"),
        ({"contenders": {"oracle": contender()}}, r"found 'oracle' twice"),
        ({"contenders": {"a/b": contender()}}, r"found 'a/b'; accepted: letters"),
        ({"baselines": {"dummy": Dummy()}}, r"suite\.baselines: found dummy; accepted: one of lin"),
        ({"voxel_size_mm": 4}, r"contenders\.tiny\.preparation: found 8 mm, mask brain; acc"),
    ],
)
def test_wrong_settings_are_named(changes, match):
    with pytest.raises(ConfigError, match=match):
        replace(SUITE, **changes)


def test_too_few_people_are_known_before_anything_is_computed(tmp_path, scored):
    with pytest.raises(ConfigError, match="found 30 people, with maps of 14; accepted: at most 28"):
        replace(SUITE, n=(20, 30)).run(tmp_path)
    assert scored == []


def test_all_faults_come_at_once():
    with pytest.raises(ConfigError, match="3 faults"):
        replace(SUITE, regimes=["lined"], only=["teeny"], baselines={})
