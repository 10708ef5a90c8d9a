import pytest

from fmnet.study.findings import all_findings, rival_shortcuts


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
