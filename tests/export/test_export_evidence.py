import json

import pandas as pd
import pytest

from fmnet.errors import RunError
from fmnet.export.evidence import gather_evidence
from fmnet.inference.bundle_files import MAX_LENGTH
from fmnet.runs.final_models import Choice

NETWORK = {"auc": 0.7, "auc_ci": [0.6, 0.8], "balanced_accuracy": 0.6}
SVM = {"auc": 0.8, "auc_ci": [0.7, 0.9], "balanced_accuracy": 0.7}
TITLES = {"network": "scale space", "linear_svm": "linear SVM"}
#: What a choice among both says of it.
CHOSEN = {
    "among": ["network", "linear_svm"], "auc_corrected": 0.76, "auc_corrected_ci": [0.64, 0.87],
    "p": 0.02, "n_permutations": 99,
}  # fmt: skip
ALONE = CHOSEN | {"among": ["network"], "auc_corrected": 0.7, "p": 0.04}
#: What a run of now states.
METRICS = {
    "models": {"network": NETWORK, "linear_svm": SVM},
    "titles": TITLES,
    "permutation": {
        "n": 99,
        "n_repeats": 1,
        "models": {
            "network": {"observed": 0.7, "p": 0.04, "null": []},
            "linear_svm": {"observed": 0.8, "p": 0.01, "null": []},
        },
    },
    "audit": {"model": "linear_svm", "findings": []},
    "audit_network": {
        "findings": [{"severity": "red", "text": "The scale space's score follows age."}]
    },
    "findings": [
        {"severity": "red", "text": "The linear SVM's score follows age."},
        {"severity": "red", "text": "Image scale only reaches AUC 0.80."},
        {"severity": "amber", "text": "The groups differ in sex."},
    ],
    "verdict": "Linear SVM: AUC 0.80 [0.70, 0.90], above chance. 2 warnings below.",
}  # fmt: skip


@pytest.fixture
def gather(tmp_path):
    """Gather from a run of nine people, of whom one has two scans; `metrics` None for no file."""

    def run(metrics=METRICS, model="linear_svm", asked="auto", n_models=2, chosen=CHOSEN):
        if metrics is not None:
            (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        rows = [
            {"participant_id": f"sub-{n % 9}", "label": "FM" if n % 9 < 4 else "NA", "used": "yes"}
            for n in range(10)
        ]
        rows.append({"participant_id": "sub-10", "label": "FM", "used": "no"})
        pd.DataFrame(rows).to_csv(tmp_path / "cohort.tsv", sep="\t", index=False)
        calibration = {"slope": 2.5, "intercept": 0.1, "base_rate": 0.5, "slope_ci": [1.5, 3.5]}
        (tmp_path / "calibration.json").write_text(json.dumps(calibration))
        record = {
            "model": model, "title": TITLES[model], "titles": TITLES, "positive": "FM",
            "negative": "NA", "n_subjects": 9, "n_scans": 10,
            "crossvalidation": {"network": NETWORK, "linear_svm": SVM}, "chosen": chosen,
        }  # fmt: skip
        return gather_evidence(tmp_path, Choice(tmp_path, record, asked, "why", n_models))

    return run


def test_model_that_was_chosen_has_the_p_of_the_choice_and_its_corrected_auc(gather):
    known = gather()
    assert known.model == "linear SVM"
    assert (known.auc, known.auc_ci) == (0.8, [0.7, 0.9])
    assert (known.auc_corrected, known.auc_corrected_ci) == (0.76, [0.64, 0.87])
    assert (known.p, known.n_permutations) == (0.02, 99)
    assert known.p_of == "the largest AUC among the scale space and the linear SVM"
    assert (known.n_subjects, known.n_positive, known.n_negative, known.n_scans) == (9, 4, 5, 10)
    assert known.verdict == METRICS["verdict"]
    assert known.red == [
        "The linear SVM's score follows age.",
        "Image scale only reaches AUC 0.80.",
    ]
    assert known.amber == ["The groups differ in sex."]
    assert known.note is None
    assert known.calibration.pop("sentence").startswith(
        "Probabilities are stated for a base rate of 50 %"
    )
    assert known.calibration == {"slope": 2.5, "slope_ci": [1.5, 3.5], "base_rate": 0.5}


def test_network_that_was_not_chosen_has_its_own_figures_and_says_whose_findings_are(gather):
    known = gather(model="network", asked="network", n_models=1, chosen=ALONE)
    assert (known.model, known.auc, known.p) == ("scale space", 0.7, 0.04)
    assert (known.p_of, known.n_candidates) == ("the AUC of the scale space", 1)
    assert known.auc_corrected is None
    assert known.red == [
        "The scale space's score follows age.",
        "Of the linear SVM: The linear SVM's score follows age.",
        "Image scale only reaches AUC 0.80.",
    ]
    assert known.amber == ["The groups differ in sex."]  # which is of people, not of a model
    assert known.note == (
        "The verdict's first sentence and the audit are about the linear SVM. This signature is "
        "the scale space, which was audited as well. Findings that begin with 'Of the linear SVM' "
        "are of that model."
    )


def test_note_speaks_of_no_findings_where_there_are_none_and_says_what_was_not_audited(gather):
    nothing = METRICS | {"findings": [], "audit_network": {"findings": []}}
    known = gather(nothing, model="network", asked="network", n_models=1, chosen=ALONE)
    assert known.note.endswith("is the scale space, which was audited as well.")
    of_network = METRICS | {"findings": [], "audit": {"model": "network"}}
    known = gather(of_network, asked="linear")
    assert known.note.endswith("is the linear SVM, which was not audited.")


def test_finding_of_both_models_is_said_once(gather):
    both = {"findings": METRICS["findings"][:1]}
    known = gather(METRICS | {"audit_network": both}, "network", "network", 1)
    assert known.red[0] == "The linear SVM's score follows age."
    assert known.red[1:] == ["Image scale only reaches AUC 0.80."]


def test_column_that_alone_reaches_both_models_is_named_once(gather):
    texts = [f"tiv alone tells; the {model} reaches 0.80." for model in ("SVM", "scale space")]
    of_svm, of_network = [[{"severity": "red", "text": text}] for text in texts]
    metrics = METRICS | {"findings": of_svm, "audit_network": {"findings": of_network}}
    assert gather(metrics, "network", "network", 1).red == [texts[1]]


def test_run_of_before_audited_the_network(gather):
    older = {key: METRICS[key] for key in ("models", "titles", "findings", "verdict")}
    older["permutation"] = METRICS["permutation"]
    older["findings"] = [{"severity": "red", "text": "The network's score follows age."}]
    known = gather(older, chosen={})
    assert known.red[0] == "Of the scale space: The network's score follows age."
    assert known.p == 0.01
    assert known.p_of == "the AUC of the linear SVM, without regard to its choice among 2 models"
    assert known.auc_corrected is None


def test_earlier_name_of_the_network_is_known(gather):
    older = json.loads(json.dumps(METRICS).replace('"network"', '"cnn"'))
    assert gather(older, "network", "network", 1, {}).p == 0.04


def test_run_without_permutations_says_so(gather):
    metrics = {key: value for key, value in METRICS.items() if key != "permutation"}
    known = gather(metrics, chosen={"among": ["network"], "auc_corrected": 0.7})
    assert (known.p, known.p_of, known.n_permutations) == (None, "not tested by permutation", None)


def test_run_without_metrics_leaves_open_what_it_does_not_record(gather):
    known = gather(None)
    assert (known.verdict, known.red, known.amber) == (None, None, None)
    assert (known.auc, known.n_positive) == (0.8, 4)


def test_metrics_of_another_run_are_refused(gather):
    other = METRICS | {"models": {"network": NETWORK, "linear_svm": SVM | {"auc": 0.9}}}
    with pytest.raises(RunError, match=r"metrics\.json: found an AUC of 0\.900 of the model that "):
        gather(other)


@pytest.mark.parametrize(
    "change",
    [
        {"findings": [{"text": "x"}]},
        {"findings": 5},
        {"verdict": 5},
        {"models": []},
        {"permutation": {"models": {"linear_svm": []}, "n": 9}},
        {"models": {"linear_svm": SVM | {"auc": "0.8"}}},
    ],
)
def test_metrics_that_are_none_are_refused(gather, change):
    with pytest.raises(RunError, match=r"metrics\.json: found .*; accepted: JSON as the run wrote"):
        gather(METRICS | change, chosen={})


def test_no_red_finding_is_dropped_and_what_is_cut_is_counted(gather):
    texts = [f"Finding {n}." for n in range(600)] + ["x" * 5000]
    found = [{"severity": "red", "text": one} for one in texts]
    known = gather(METRICS | {"findings": found})
    assert known.red[:499] == texts[:499]
    assert known.red[499:] == ["And 102 more, in the report of the run."]
    known = gather(
        METRICS | {"findings": [{"severity": "red", "text": one} for one in texts[400:]]}
    )
    assert len(known.red) == 201
    assert len(known.red[-1]) == MAX_LENGTH
    assert known.red[-1].endswith("…")
