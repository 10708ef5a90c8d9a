import numpy as np
import pytest
from written_runs import SETTINGS, write_run

from fmnet.report.compared_runs import read_run
from fmnet.report.run_differences import best_of, differing_settings, paired_groups, paired_tests


def test_only_what_differs_is_listed():
    other = SETTINGS | {"run_dir": "elsewhere", "seed": 3, "resume": True}
    other["network"] = SETTINGS["network"] | {"channels": [8]}
    other["trainer"] = SETTINGS["trainer"] | {"enable_progress_bar": False}
    assert differing_settings([SETTINGS, other, SETTINGS]) == {
        "network.channels": ["[4, 6]", "[8]", "[4, 6]"],
        "seed": ["0", "3", "0"],
    }


def test_parts_of_other_kinds_are_named_and_share_settings_of_the_same_name():
    """A setting that one kind alone has is no difference between runs of that kind."""
    resnet = {"_target_": "fmnet.networks.backbones.build_resnet", "channels": [32], "layers": [1]}
    found = differing_settings([SETTINGS, SETTINGS | {"network": resnet}, SETTINGS])
    assert found == {
        "network": ["build_small_cnn", "build_resnet", "build_small_cnn"],
        "network.channels": ["[4, 6]", "[32]", "[4, 6]"],
    }


def test_what_is_not_there_is_none():
    without = SETTINGS | {"baselines": {}, "signature": {}}
    plan = SETTINGS | {"signature": {"_target_": "a.SignaturePlan", "n_regions": 9}}
    assert differing_settings([SETTINGS, without, plan]) == {
        "baselines.linear_svm": ["LinearSvm", "none", "LinearSvm"],
        "signature": ["none", "none", "SignaturePlan"],
    }


@pytest.fixture
def runs(tmp_path):
    """Three of the same people, one of others with the same names, one in other folds."""
    strong, weak = {"network": 3.0}, {"network": 0.2}
    return [
        read_run(write_run(tmp_path / name, **how), name)
        for name, how in {
            "weak": {"effects": weak},
            "others": {"effects": strong, "people": 4},
            "strong": {"effects": strong},
            "lucky": {"effects": weak, "luck": 1},
            "fewer": {"effects": weak, "n": 24},
        }.items()
    ]


def test_runs_are_paired_where_people_and_folds_are_the_same(runs):
    (group,) = paired_groups(runs)
    assert [run.name for run in group] == ["weak", "strong", "lucky"]


def test_people_are_the_same_by_their_scans_or_by_their_table(runs):
    weak, _, strong, *_ = runs
    strong.record["data_sha256"] = "of another contrast"
    assert weak.is_paired(strong)
    table = strong.folder / "participants.tsv"
    table.write_text(table.read_text().replace("age", "years"))
    assert not weak.is_paired(strong)
    strong.record["data_sha256"] = weak.record["data_sha256"]
    assert weak.is_paired(strong)
    del weak.record["data_sha256"], strong.record["data_sha256"]
    assert not weak.is_paired(strong)


def test_differences_are_those_of_the_aucs_from_the_first(runs):
    (group,) = paired_groups(runs)
    rows = {row["name"]: row for row in paired_tests(group)}
    aucs = {run.name: run.reached("network").value for run in group}
    for name, row in rows.items():
        assert row["difference"] == pytest.approx(aucs[name] - aucs["weak"])
        low, high = row["ci"]
        assert low < row["difference"] < high
    assert list(rows) == ["strong", "lucky"]
    assert rows["strong"]["difference"] > 0.2


def test_best_of_several_is_corrected_downwards(runs):
    """Two networks that know next to nothing: the better of them owes something to luck."""
    weak, lucky = runs[0], runs[3]
    best, corrected = best_of([weak, lucky])
    reached = [run.reached("network").value for run in (weak, lucky)]
    assert best is (weak, lucky)[int(np.argmax(reached))]
    assert corrected.value < max(reached)
    assert corrected.low < corrected.value < corrected.high


def test_no_correction_without_the_figures_for_it(tmp_path, runs):
    of_before = read_run(write_run(tmp_path / "before", {"network": 3.0}), "before")
    of_before.metrics["models"]["network"].pop("auc_logit_se")
    assert best_of([runs[0], of_before]) is None
