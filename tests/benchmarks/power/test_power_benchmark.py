import json
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest

from benchmarks.power import power, units
from benchmarks.power.contender import Contender, NetworkRacer, draw_folds, mean_auc
from benchmarks.power.planted import Planter
from benchmarks.power.power import PowerBenchmark
from benchmarks.power.regimes import AMPLITUDES
from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm, LogisticRidge
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
        found.append((unit.condition.label, unit.number, unit.model))
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
    changed = {"tiny": contender(lr=1e-4)}
    replace(SUITE, contenders=changed, regimes=("aligned",)).run(tmp_path)
    assert scored == [("aligned", 0, "tiny")]
    scored.clear()
    replace(SUITE, amplitudes={"aligned": 3.0}, only=["linear"]).run(tmp_path)
    assert scored == [("aligned", 0, "oracle"), ("aligned", 0, "linear_svm")]
    assert SUITE.run(tmp_path) == lines


def test_names_choose_baselines_and_networks(tmp_path, scored):
    more = SUITE.baselines | {"ridge": LogisticRidge((8.0,), (1.0,)), "dummy": Dummy()}
    suite = replace(SUITE, baselines=more, regimes=("null",))
    for only, expected in (
        (["linear"], ["linear_svm", "ridge"]),
        (["tiny", "ridge"], ["ridge", "tiny"]),
        (None, ["linear_svm", "ridge", "dummy", "tiny"]),
        ([], []),
    ):
        found = replace(suite, only=only)._work().racers
        assert list(found) == ["oracle", *expected]
    lines = replace(suite, only=["linear"]).run(tmp_path)
    assert [model for _, _, model in scored] == ["oracle", "linear_svm", "ridge"]
    assert lines[1].split() == ["oracle", "linear_svm", "ridge"]


def test_one_run_covers_several_radii_and_strengths(tmp_path):
    suite = replace(SUITE, radius_mm=[9, 20], amplitude_scale=[1.0, 4], only=[])
    lines = suite.run(tmp_path)
    shown = [line.split()[0] for line in lines[2:] if line]
    assert shown == ["null", "aligned", "aligned_x4", "aligned_20mm", "aligned_20mm_x4"]
    for one in shown:
        assert len(list((tmp_path / "units").glob(f"{one}_n-20_draw-000_oracle-*.tsv"))) == 1
    # a single radius and strength, by a number alone, is the same cohort
    again = replace(SUITE, radius_mm=20.0, amplitude_scale=4.0, only=[], regimes=("aligned",))
    assert again._work().path(again._units(again._work())[0], tmp_path / "units").exists()


def build_weighted(input_shape, weights=None):
    assert weights
    return build_small_cnn(input_shape, channels=(2, 3))


def test_ceiling_races_where_it_has_weights(tmp_path, scored):
    file = tmp_path / "aligned.safetensors"
    file.write_bytes(b"first")
    default = replace(contender(), build_network=partial(build_weighted))
    suite = replace(SUITE, contenders={"default": default}, ceilings={"aligned": file}, only=[])
    racer = suite._work().racers["ceiling:aligned"]
    assert racer.contender.build_network.keywords == {"weights": str(file)}
    lines = suite.run(tmp_path)
    assert scored == [("null", 0, "oracle"), ("aligned", 0, "oracle"), ("aligned", 0, "ceiling")]
    assert lines[1].split() == ["oracle", "ceiling"]
    (unit,) = [one for one in suite._units(suite._work()) if one.model == "ceiling"]
    assert suite._work().path(unit, tmp_path / "units").exists()
    file.write_bytes(b"second")
    assert not suite._work().path(unit, tmp_path / "units").exists()


def test_weights_of_a_condition_go_before_those_of_its_regime(tmp_path):
    files = {name: tmp_path / f"{name}.safetensors" for name in ("aligned", "aligned_20mm")}
    for name, file in files.items():
        file.write_text(name)
    default = replace(contender(), build_network=partial(build_weighted))
    suite = replace(SUITE, contenders={"default": default}, ceilings=files, radius_mm=[9, 20, 30])
    work = suite._work()
    found = {one.label: work.find(one, "ceiling") for one in suite.conditions}
    assert found == {
        "null": "",
        "aligned": "ceiling:aligned",
        "aligned_20mm": "ceiling:aligned_20mm",
        "aligned_30mm": "ceiling:aligned",
    }


def test_units_change_with_the_code_that_they_depend_on(tmp_path, monkeypatch):
    suite = replace(SUITE, regimes=("aligned",))
    names = {unit.model: suite._work().path(unit, tmp_path) for unit in suite._units(suite._work())}
    changed = tmp_path / "changed.py"
    changed.write_text("# another state of a network\n")
    monkeypatch.setattr(power, "NETWORK_CODE", (*power.NETWORK_CODE, str(changed)))
    after = {unit.model: suite._work().path(unit, tmp_path) for unit in suite._units(suite._work())}
    assert {name for name in names if names[name] != after[name]} == {"tiny"}
    monkeypatch.setattr(power, "COHORT_CODE", (*power.COHORT_CODE, str(changed)))
    after = {unit.model: suite._work().path(unit, tmp_path) for unit in suite._units(suite._work())}
    assert not set(after.values()) & set(names.values())


def test_leaves_tables_and_an_account(tmp_path):
    suite = replace(SUITE, n_synthetic=20, n_draws=2, only=["linear"])
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
        (
            {"only": ["tiny", "teeny"]},
            r"suite\.only: found 'teeny'; accepted: tiny, lin",
        ),
        ({"contenders": {"oracle": contender()}}, r"found 'oracle' twice"),
        ({"only": ["recipe"]}, r"found 'recipe'; .*write closed_form, which it is called now"),
        ({"contenders": {"linear": contender()}}, r"found 'linear' twice"),
        ({"ceilings": {"lined": "w.safetensors"}}, r"suite\.ceilings: found 'lined'"),
        (
            {"ceilings": {"aligned": "w.safetensors"}},
            r"ceilings\.aligned: found w\.safetensors",
        ),
        ({"ceilings": {"aligned": __file__}}, r"found none called so; accepted: a contender call"),
        (
            {"ceilings": {"aligned": __file__}, "contenders": {"default": contender()}},
            r"default\.build_network: found a network that takes no weights",
        ),
        ({"contenders": {"a/b": contender()}}, r"found 'a/b'; accepted: letters"),
        (
            {"baselines": {"dummy": Dummy()}},
            r"suite\.baselines: found dummy; accepted: a linear",
        ),
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
