import pytest

from fmnet.evaluation.audit import findings
from fmnet.evaluation.findings import all_findings, network_findings, rival_shortcuts


def figures(auc, low, high):
    return {"auc": auc, "auc_ci": [low, high]}


def models(**more):
    return {"network": figures(0.8, 0.7, 0.9)} | {name: figures(*f) for name, f in more.items()}


def rerun(*auc):
    return {
        "title": "groups matched on fd",
        "lacking": "",
        "n_subjects": 20,
        "models": {"network": figures(*auc)},
    }


def test_shortcut_as_good_as_the_network_is_grave():
    given = models(motion=(0.75, 0.6, 0.9), scale=(0.6, 0.51, 0.7), roughness=(0.79, 0.4, 0.95))
    assert rival_shortcuts(given) == ["motion"]
    found = all_findings({"models": given})
    assert [one["severity"] for one in found] == ["red", "amber"]
    assert found[0]["text"].startswith("Motion only reaches AUC 0.75 [0.60, 0.90]")
    assert found[1]["text"].startswith("Image scale only reaches AUC 0.60")


@pytest.mark.parametrize(
    ("auc", "severity"),
    [((0.55, 0.4, 0.7), ["red"]), ((0.75, 0.45, 0.95), ["amber"]), ((0.75, 0.6, 0.9), [])],
)
def test_result_that_does_not_hold_is_said(auc, severity):
    found = all_findings({"models": models(), "sensitivity": {"matched": rerun(*auc)}})
    assert [one["severity"] for one in found] == severity
    assert all(one["text"].startswith("Groups matched on fd (20 people)") for one in found)


def test_result_at_chance_can_not_be_lost():
    given = {"network": figures(0.55, 0.4, 0.7)}
    assert all_findings({"models": given, "sensitivity": {"m": rerun(0.5, 0.4, 0.6)}}) == []


def test_rerun_that_was_not_possible_is_no_finding():
    lacking = {"title": "leave one site out", "lacking": "two sites"}
    assert all_findings({"models": models(), "sensitivity": {"site": lacking}}) == []


def test_findings_of_the_audit_say_what_they_are_about():
    """As the audit words them."""

    def row(name, auc=0.9, **more):
        return {"covariate": name, "auc": auc, "auc_ci": [auc - 0.2, 1.0]} | more

    def differs(name):
        return {"covariate": name, "is_imbalanced": True, "smd": 0.81}

    rows = [
        row("site, of scan"),
        row("score", 0.5, partial_p_holm=0.01),
        row("fd_mean", left_p=0.5),
    ]
    audit = {"findings": findings(rows, [differs("head_size"), differs("a.b")], 0.8, 0.7, "SVM")}
    text = "Columns 'drug', 'dose' could not be examined as confounds: known in one group only."
    audit["findings"].append({"severity": "amber", "text": text, "about": "drug, dose"})
    found = all_findings({"models": models(), "audit": audit})
    assert [one["about"] for one in found] == [
        "fd_mean", "site, of scan", "score", "head_size", "a.b", "drug, dose",
    ]  # fmt: skip


def test_findings_are_about_the_model_that_is_exported_and_reruns_about_the_network_as_well():
    again = rerun(0.55, 0.4, 0.7)
    again["models"]["linear_svm"] = figures(0.6, 0.45, 0.7)
    metrics = {
        "models": models(linear_svm=(0.82, 0.72, 0.9), motion=(0.71, 0.6, 0.9)),
        "titles": {"network": "ResNet", "linear_svm": "linear SVM"},
        "exported": {"model": "linear_svm"},
        "sensitivity": {"matched": again},
    }
    found = [(one["severity"], one["about"], one["text"]) for one in all_findings(metrics)]
    matched = "groups matched on fd"
    assert [one[:2] for one in found] == [("red", matched)] * 2 + [("amber", "motion only")]
    assert "the linear SVM reaches AUC 0.60 [0.45, 0.70]" in found[0][2]
    assert "the ResNet reaches AUC 0.55" in found[1][2]
    assert found[2][2].endswith("the linear SVM reaches 0.82 [0.72, 0.90].")
    del again["models"]["linear_svm"]  # which need not have been run again
    assert "the ResNet reaches AUC 0.55" in all_findings(metrics)[0]["text"]


def test_column_that_alone_reaches_both_models_is_not_repeated_of_the_network():
    both = {
        key: {"findings": [finding(f"tiv alone tells; the {model} reaches 0.80."), *more]}
        for key, model, more in (
            ("audit", "SVM", []),
            ("audit_network", "ResNet", [finding("The ResNet's score depends on age.")]),
        )
    }
    assert [one["text"] for one in network_findings(both)] == ["The ResNet's score depends on age."]


def finding(text):
    return {"severity": "red", "text": text}


def test_grave_findings_come_first():
    audit = {"findings": [{"severity": "red", "text": "Age alone."}]}
    found = all_findings({"models": models(scale=(0.6, 0.51, 0.7)), "audit": audit})
    assert [one["text"][:9] for one in found] == ["Age alone", "Image sca"]


def test_motion_that_explains_the_result_comes_first():
    red = {"severity": "red", "text": "Head motion explains the result: it does."}
    given = models(motion=(0.85, 0.7, 0.9), temporal_snr=(0.8, 0.7, 0.9))
    found = all_findings({"models": given, "audit": {"findings": [red]}})
    assert [one["text"][:17] for one in found] == [
        "Head motion expla", "Motion only reach", "Temporal SNR only",
    ]  # fmt: skip
