"""`fmnet.study(...)`: plain values in, a run folder and what it says out."""

import json

import pandas as pd
import pytest
from numpy.testing import assert_allclose

import fmnet
from fmnet.api import whole_study
from fmnet.api.whole_study import _cohort_settings, _kind_of, _labels
from fmnet.config.primary import Primary
from fmnet.errors import ConfigError, InputError, RunError
from fmnet.networks.rebuild import read_network
from fmnet.synthetic.maps import write_cohort

#: Seconds: one path of the network on a coarse grid, two folds, no map of the signature.
QUICK = {
    "preparation.voxel_size_mm": 12,
    "network.paths": ["fine"],
    "folds.inner_splits": 2,
    "signature": None,
    "logger": "none",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    return write_cohort(root / "people", n_subjects=20, effect_size=8.0, voxel_size_mm=12, seed=1)


@pytest.fixture(scope="module")
def maps(people):
    return sorted(people.rglob("func/*_statmap.nii.gz"))


@pytest.fixture(scope="module")
def group(people):
    return pd.read_csv(people / "participants.tsv", sep="\t")["group"]


@pytest.fixture(scope="module")
def done(maps, group, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "run"
    given = {"baselines": "linear", "n_splits": 2, "out": out, "settings": QUICK}
    return fmnet.study(maps, group, **given)


def test_gives_what_the_run_folder_holds(done, maps):
    assert isinstance(done, fmnet.Study)
    assert set(done.predictions["model"]) >= {"network", "linear_svm", "dummy"}
    assert len(done.predictions.query("model == 'network'")) == len(maps)
    assert done.metrics["models"]["network"]["auc"] > 0.7
    assert done.report.is_file()
    assert done.metrics == json.loads((done.folder / "metrics.json").read_text())


def test_says_its_verdict_sentence_by_sentence(done):
    assert " ".join(done.verdict) == done.metrics["verdict"]
    assert all(one.endswith((".", "?")) for one in done.verdict)
    assert done.verdict[0] in repr(done)
    assert "Research use only" in done._repr_html_()


def test_tables_and_decoded_maps_lie_beside_the_run(done):
    beside = done.folder.with_name("run_input")
    own = {"images.tsv", "participants.tsv", "store", ".fmnet-input"}
    assert {one.name for one in beside.iterdir()} == own


def test_a_finished_run_is_not_replaced_unless_told(done, maps, group):
    given = {"baselines": "linear", "n_splits": 2, "out": done.folder}
    table = done.folder.with_name("run_input") / "images.tsv"
    before = table.read_text()
    with pytest.raises(RunError, match="overwrite=true"):
        fmnet.study(maps[::-1], group, **given, settings=QUICK)
    assert table.read_text() == before
    again = fmnet.study(maps, group, **given, settings=QUICK | {"resume": True})
    assert again.metrics["models"] == done.metrics["models"]


def test_a_folder_of_others_is_left_alone(maps, group, tmp_path):
    (tmp_path / "pain_input").mkdir()
    (tmp_path / "pain_input" / "images.tsv").write_text("mine")
    with pytest.raises(InputError, match="has not made"):
        fmnet.study(maps, group, out=tmp_path / "pain", settings=QUICK)
    assert (tmp_path / "pain_input" / "images.tsv").read_text() == "mine"


def test_a_classifier_is_studied_before_it_is_exported(maps, group, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(fmnet.Study, "export", lambda self, *own: given.extend([self, *own]))
    own = {key: QUICK[key] for key in ("network.paths", "signature")}
    model = fmnet.SignatureClassifier(voxel_size_mm=12, inner_splits=2, settings=own)
    model.fit(maps, group == "FM")
    model.export(tmp_path / "mine", ("controls", "patients"), baselines="none", n_splits=2)
    found, *rest = given
    assert rest == [tmp_path / "mine", "network", False, False]
    assert found.folder == tmp_path / "mine_run"
    record = json.loads((found.folder / "model" / "training.json").read_text())
    assert (record["positive"], record["negative"]) == ("patients", "controls")
    assert record["origin"] == "synthetic"  # of listed files, too
    # the network that the study ends with is the one that was fitted
    network, _ = read_network(found.folder / "model")
    fitted = model.network_.state_dict()
    for name, weights in network.state_dict().items():
        assert_allclose(weights, fitted[name], rtol=1e-5, atol=1e-6, err_msg=name)
    with pytest.raises(InputError, match="two names"):
        model.export(tmp_path / "other", names=["one"])


@pytest.fixture
def asked(monkeypatch):
    """What a study would have been called with."""
    seen = {}

    def instead(**given):
        seen.update(given)
        raise RuntimeError("far enough")

    train = Primary("train", whole_study.PRIMARIES["train"].schema, ("config_yaml",))
    monkeypatch.setattr(Primary, "function", lambda self: instead)
    monkeypatch.setitem(whole_study.PRIMARIES, "train", train)
    return seen


def test_passes_on_each_plain_value(asked, people, tmp_path):
    with pytest.raises(RuntimeError, match="far enough"):
        fmnet.study(
            people,
            positive="HC",
            network="small_cnn",
            baselines="none",
            n_splits=3,
            n_repeats=2,
            n_permutations=19,
            out=tmp_path / "run",
            overwrite=True,
            settings={"seed": 5, "batch_size": 4},
        )
    assert asked["folds"].keywords["n_splits"] == 3
    assert asked["folds"].keywords["n_repeats"] == 2
    assert asked["permutation"].n == 19
    assert asked["network"].func.__name__ == "build_small_cnn"
    assert asked["baselines"] == {}
    assert asked["overwrite"] is True
    assert (asked["seed"], asked["batch_size"]) == (5, 4)
    labels = asked["cohort"].labels
    assert (labels.positive, labels.negative) == ("HC", "FM")
    assert asked["run_dir"] == str(tmp_path / "run")


def test_a_target_needs_no_groups(asked, tmp_path):
    settings = {"cohort": "synthetic_severity", "target": "severity"}
    settings |= {"cohort.root": str(tmp_path / "made"), "cohort.n_subjects": 22}
    settings |= {"cohort.voxel_size_mm": 12}
    with pytest.raises(RuntimeError, match="far enough"):
        fmnet.study(tmp_path, out=tmp_path / "run", settings=settings)
    assert asked["target"].column == "fiqr"
    assert not asked["cohort"].labels.is_given


def test_wrong_settings_are_refused_before_anything_is_read(maps, group, tmp_path):
    with pytest.raises(ConfigError, match="max_epochs"):
        fmnet.study(maps, group, out=tmp_path / "run", settings={"trainer.max_epoch": 3})
    assert not (tmp_path / "run").exists()


def test_folders_and_tables_are_read_where_they_are(people, tmp_path):
    found = _cohort_settings(people, None, None, "group", None, ["pressure"], tmp_path / "in")
    assert found == {
        "cohort": "bids",
        "cohort.root": str(people),
        "cohort.contrasts": ["pressure"],
    }
    assert _labels(found, "group", None)["cohort.positive"] == "FM"
    assert not (tmp_path / "in").exists()
    table = pd.DataFrame({"participant_id": ["x"], "arm": ["drug"]})
    found = _cohort_settings(people, None, table, "arm", None, None, tmp_path / "in")
    assert found["cohort.participants"] == str(tmp_path / "in" / "participants.tsv")
    assert _labels(found, "arm", None)["cohort.positive"] == "drug"


def test_labels_beside_a_folder_are_refused(people, group, tmp_path):
    with pytest.raises(InputError, match="a column 'group'"):
        fmnet.study(people, group, out=tmp_path / "run")
    with pytest.raises(InputError, match="a column 'family'"):
        fmnet.study(people, groups=group, out=tmp_path / "run")


def test_tells_a_folder_of_runs_from_one_of_maps(people, bold_tree):
    assert _kind_of(people) == "bids"
    assert _kind_of(bold_tree) == "bold"


def test_no_run_no_study(tmp_path):
    with pytest.raises(RunError, match=r"no metrics\.json"):
        fmnet.Study(tmp_path)
