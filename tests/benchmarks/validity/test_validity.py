from dataclasses import replace
from functools import partial

import pytest

from benchmarks.validity.measures import Coverage, TypeOne
from benchmarks.validity.null_studies import NullNetwork
from benchmarks.validity.sentences import read_study
from benchmarks.validity.validity import Validity
from fmnet.baselines.linear import LinearSvm
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.closed_form import build_scale_space


@pytest.fixture
def null_network():
    return NullNetwork(
        partial(build_scale_space, voxel_size_mm=12),
        PreparationSettings(voxel_size_mm=12),
        {"linear_svm": LinearSvm(fwhm_mm=(0.0,), c=(0.1,))},
        n_cohorts=1,
        n_permutations=1,
        n_subjects=12,
        n_splits=2,
    )


@pytest.fixture
def suite(null_network):
    measures = {
        "coverage": Coverage(2, n=[24], aucs=[0.5], n_repeats=[1]),
        "type_one": TypeOne(2, n=[24], aucs=[0.5], n_repeats=[1]),
    }
    return Validity(measures, null_network)


def test_measures_once_and_goes_on_with_more_cohorts(suite, tmp_path, monkeypatch):
    lines = suite.run(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.tsv")) == ["coverage.tsv", "type_one.tsv"]
    assert "| 24 | 0.500 | 1 | 2 |" in (tmp_path / "coverage.md").read_text()
    monkeypatch.setattr(Coverage, "measure", lambda *_: pytest.fail("done before"))
    assert suite.run(tmp_path) == lines
    more = {name: replace(one, n_cohorts=3) for name, one in suite.measures.items()}
    only = replace(suite, measures=more, only=["type_one"])
    assert any(" 3 " in line for line in only.run(tmp_path))


def test_only_names_what_there_is(suite):
    with pytest.raises(ConfigError, match=r"suite\.only.*covrage.*coverage, type_one, null_net"):
        replace(suite, only=["covrage"])


def test_default_network_leaves_a_file_for_each_cohort(suite, tmp_path, monkeypatch):
    # which takes seconds, and is tested for itself
    monkeypatch.setattr("benchmarks.validity.sentences.read_participants", lambda *_: None)
    suite = replace(suite, only=["null_network"])
    lines = suite.run(tmp_path)
    assert any(line.startswith("auc_exported") for line in lines)
    (path,) = (tmp_path / "null_network" / "cohorts").glob("*.gz")
    study = read_study(path)
    assert set(study.predictions["model"]) == {"network", "linear_svm"}
    assert set(study.null) <= {"linear_svm", "network"}  # none where it is decided without
    assert len(study.participants) == 12
    monkeypatch.setattr(NullNetwork, "train", lambda *_: pytest.fail("done before"))
    assert suite.run(tmp_path) == lines
