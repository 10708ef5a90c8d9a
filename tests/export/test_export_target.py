"""What export takes of a study of a target, and what it says of it."""

import json

import pytest
from target_bundle_fixtures import describe_target

from fmnet.errors import ConfigError, ExportError, RunError
from fmnet.export.evidence import gather_evidence
from fmnet.export.export import describe_output
from fmnet.runs.final_models import check_informative, choose_model

METRICS = {
    "models": {"network": {"r2": 0.31, "r2_ci": [0.1, 0.5]}},
    "verdict": [
        {"text": "Scans tell it", "severity": "none"},
        {"text": "It is not calibrated.", "severity": "amber"},
    ],
    "audit": {"said": [{"text": "Motion explains it.", "severity": "red"}]},
    "permutation": {"n": 99, "models": {"network": {"p": 0.02, "observed": 0.5}}},
}


@pytest.fixture
def write(tmp_path):
    """Write as much of a run as export says things by."""

    def write(low=0.1, **metrics):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        record = {
            "model": "network", "title": "prior CNN", "chosen_among": ["network"],
            "crossvalidation": {"network": {"r2": 0.31, "r2_ci": [low, 0.5]}},
            "target": describe_target("severity"), "n_subjects": 40, "n_scans": 44,
        }  # fmt: skip
        (folder / "training.json").write_text(json.dumps(record))
        (tmp_path / "metrics.json").write_text(json.dumps(METRICS | metrics))
        return tmp_path

    return write


def test_network_is_exported_and_said_to_be(write):
    choice = choose_model(write(), "auto")
    assert choice.line == "the prior CNN is exported: it is what a study of a target exports."
    assert choice.record["tested"] == {"p": 0.02, "n": 99}
    check_informative(choice)


def test_linear_model_can_not_be_asked_for(write):
    with pytest.raises(ConfigError, match="no final linear model"):
        choose_model(write(), "linear")


@pytest.mark.parametrize(
    ("low", "p", "said"),
    [
        (-0.1, 0.02, r"reaches 0, which is what knows nothing \(R² 0\.31 \[-0\.10, 0\.50\]; p = "),
        (0.1, 0.3, r"not above 0, which is what knows nothing, out of fold .*; p = 0\.300"),
    ],
)
def test_model_that_may_know_nothing_is_refused(write, low, p, said):
    tested = {"n": 99, "models": {"network": {"p": p, "observed": 0.5}}}
    choice = choose_model(write(low, permutation=tested), "auto")
    with pytest.raises(ExportError, match=said):
        check_informative(choice)


def test_evidence_holds_verdict_findings_and_figure(write):
    run_dir = write()
    evidence = gather_evidence(run_dir, choose_model(run_dir, "auto"))
    assert evidence.verdict == "Scans tell it. It is not calibrated."
    assert (evidence.red, evidence.amber) == (["Motion explains it."], ["It is not calibrated."])
    assert (evidence.figure, evidence.value, evidence.value_ci) == ("R²", 0.31, [0.1, 0.5])
    assert (evidence.p, evidence.n_permutations, evidence.n_scans) == (0.02, 99, 44)
    assert evidence.reached == "R² 0.31 [0.10, 0.50] (0 knows nothing)"


def test_figures_of_another_run_are_refused(write):
    run_dir = write(models={"network": {"r2": 0.4, "r2_ci": [0.1, 0.5]}})
    with pytest.raises(RunError, match=r"R² of 0\.400 of the model that training\.json states"):
        gather_evidence(run_dir, choose_model(run_dir, "auto"))


def test_outputs_are_described_with_their_units(write):
    run_dir = write()
    choice = choose_model(run_dir, "auto")
    assert describe_output(choice.record, gather_evidence(run_dir, choice)) == {
        "score": "raw, without a unit",
        "value": "points", "value_low": "points", "value_high": "points",
    }  # fmt: skip
