import json
from dataclasses import asdict

import pandas as pd
import pytest

from fmnet.evaluation.audit import Participants
from fmnet.evaluation.conclusions import (
    Conclusion,
    audit_findings,
    export_conclusion,
    exported_model,
    further_verdicts,
    is_below_chance,
    not_said_before,
    rival_shortcuts,
    study_findings,
    verdict_conclusions,
)
from fmnet.report.sentences import written

KINDS = {
    "network": "closed form",
    "linear_svm": "linear",
    "motion": "shortcut",
    "temporal_snr": "shortcut",
    "scale": "shortcut",
    "roughness": "shortcut",
    "pain": "symptoms",
}
TITLES = {
    "network": "ResNet",
    "linear_svm": "linear SVM",
    "motion": "motion only",
    "temporal_snr": "temporal SNR only",
    "scale": "image scale only",
}


def figures(auc, low, high):
    return {"auc": auc, "auc_ci": [low, high]}


def study(network=(0.8, 0.7, 0.9), sensitivity=None, exported=None, **more):
    """Facts of a study of a network; figures of other models by name."""
    models = {name: figures(*of) for name, of in {"network": network, **more}.items()}
    facts = {"models": models, "studied": "network", "kinds": KINDS}
    facts |= {"sensitivity": sensitivity} if sensitivity else {}
    return facts | ({"exported": {"model": exported}} if exported else {})


def rerun(*auc):
    return {
        "title": "groups matched on fd",
        "lacking": "",
        "n_subjects": 20,
        "models": {"network": figures(*auc)},
    }


def said(findings):
    return [written(one, TITLES)["text"] for one in findings]


def test_shortcut_as_good_as_the_network_is_grave():
    facts = study(motion=(0.75, 0.6, 0.9), scale=(0.6, 0.51, 0.7), roughness=(0.79, 0.4, 0.95))
    assert rival_shortcuts(facts, "network") == ["motion"]
    found = study_findings(facts)
    assert [(one.kind, one.severity, one.about) for one in found] == [
        ("shortcut reaches model", "red", "motion"),
        ("shortcut above chance", "amber", "scale"),
    ]
    assert found[0].values == {
        "model": "network", "auc": 0.75, "auc_ci": [0.6, 0.9], "model_auc": 0.8,
        "model_auc_ci": [0.7, 0.9],
    }  # fmt: skip
    assert said(found)[0].startswith("Motion only reaches AUC 0.75 [0.60, 0.90]")
    assert said(found)[1].startswith("Image scale only reaches AUC 0.60")


def test_what_a_model_is_counts_and_not_its_name():
    facts = study(motion=(0.9, 0.8, 0.95), pain=(1.0, 0.9, 1.0))
    assert [one.about for one in study_findings(facts)] == ["motion"]  # pain is the condition's own
    renamed = study(**{"how much they moved": (0.9, 0.8, 0.95)})
    renamed["kinds"] = {"network": "linear", "how much they moved": "shortcut"}
    assert [one.about for one in study_findings(renamed)] == ["how much they moved"]


@pytest.mark.parametrize(
    ("auc", "kinds"),
    [
        ((0.55, 0.4, 0.7), [("lost in rerun", "red")]),
        ((0.75, 0.45, 0.95), [("weaker in rerun", "amber")]),
        ((0.75, 0.6, 0.9), []),
    ],
)
def test_result_that_does_not_hold_is_said(auc, kinds):
    found = study_findings(study(sensitivity={"matched": rerun(*auc)}))
    assert [(one.kind, one.severity) for one in found] == kinds
    assert all(text.startswith("Groups matched on fd (20 people)") for text in said(found))


def test_result_at_chance_can_not_be_lost():
    facts = study((0.55, 0.4, 0.7), sensitivity={"m": rerun(0.5, 0.4, 0.6)})
    assert study_findings(facts) == []


def test_rerun_that_was_not_possible_is_no_finding():
    lacking = {"title": "leave one site out", "lacking": "two sites"}
    assert study_findings(study(sensitivity={"site": lacking})) == []


def test_findings_of_the_audit_are_typed_and_motion_comes_first():
    def row(name, auc=0.9, **more):
        return {"covariate": name, "auc": auc, "auc_ci": [auc - 0.2, 1.0]} | more

    def differs(name):
        return {"covariate": name, "is_imbalanced": True, "smd": 0.81}

    rows = [row("site"), row("score", 0.5, partial_p_holm=0.01), row("fd_mean", left_p=0.5)]
    kinds = {"site": "usual", "score": "other", "fd_mean": "motion", "tiv": "head size"}
    people = Participants(pd.DataFrame({"label": [0, 1]}), kinds | {"a.b": "other"}, {})
    audit = {"model": "linear_svm", "covariates": rows, "look_alikes": []}
    audit["balance"] = [differs("tiv"), differs("a.b"), differs("site")]
    of_audit = audit_findings(audit, people, figures(0.8, 0.7, 0.9))
    assert audit_findings(audit, people, figures(0.8, 0.7, 0.9), ["site"])[1:] == of_audit[2:]
    found = study_findings(study(), of_audit)
    assert [(one.kind, one.about) for one in found] == [
        ("motion explains result", "fd_mean"),
        ("covariate reaches model", "site"),
        ("score follows covariate", "score"),
        ("head sizes differ", "tiv"),
        ("groups differ", "a.b"),
    ]
    assert {one.values.get("model") for one in found[:3]} == {"linear_svm"}
    assert found[2].values["partial_p"] == 0.01
    json.dumps([asdict(one) for one in found], allow_nan=False)


def test_findings_are_about_the_model_that_is_exported_and_reruns_about_the_network_as_well():
    again = rerun(0.55, 0.4, 0.7)
    again["models"]["linear_svm"] = figures(0.6, 0.45, 0.7)
    facts = study(
        linear_svm=(0.82, 0.72, 0.9),
        motion=(0.71, 0.6, 0.9),
        exported="linear_svm",
        sensitivity={"matched": again},
    )
    found = study_findings(facts)
    matched = "groups matched on fd"
    assert [(one.severity, one.about) for one in found] == [
        ("red", matched), ("red", matched), ("amber", "motion"),
    ]  # fmt: skip
    texts = said(found)
    assert "the linear SVM reaches AUC 0.60 [0.45, 0.70]" in texts[0]
    assert "the ResNet reaches AUC 0.55" in texts[1]
    assert texts[2].endswith("the linear SVM reaches 0.82 [0.72, 0.90].")
    assert written(found[2], TITLES)["about"] == "motion only"
    del again["models"]["linear_svm"]  # which need not have been run again
    assert "the ResNet reaches AUC 0.55" in said(study_findings(facts))[0]


def test_column_that_alone_reaches_both_models_is_not_repeated_of_the_network():
    def of(model, *more):
        values = {"auc": 0.7, "auc_ci": [0.6, 0.8], "model": model, "model_auc": 0.5}
        follows = {"partial_p": 0.01, "model": model, "model_auc": 0.5}
        both = [
            Conclusion("covariate reaches model", "red", "tiv", values),
            Conclusion("score follows covariate", "red", "age", follows),
        ]
        return [written(one, TITLES) for one in both]

    apart = not_said_before(of("network"), of("linear_svm"))
    assert [one["text"] for one in apart] == [
        "The ResNet's score depends on age beyond what the group explains (partial confounder "
        "test, p = 0.010)."
    ]


def test_grave_findings_come_first():
    age = Conclusion("covariate reaches model", "red", "age")
    found = study_findings(study(scale=(0.6, 0.51, 0.7)), [age])
    assert [one.about for one in found] == ["age", "scale"]


def test_motion_that_explains_the_result_comes_first():
    red = Conclusion("motion explains result", "red", "fd")
    facts = study(motion=(0.85, 0.7, 0.9), temporal_snr=(0.8, 0.7, 0.9))
    assert [one.about for one in study_findings(facts, [red])] == ["fd", "motion", "temporal_snr"]


def test_verdict_is_a_list_of_typed_conclusions():
    facts = study(linear_svm=(0.65, 0.5, 0.8), motion=(0.75, 0.6, 0.9))
    facts["permutation"] = {
        "n": 99, "n_repeats": 2, "models": {"network": {"observed": 0.79, "p": 0.01}},
    }  # fmt: skip
    row = {"one": "linear_svm", "other": "network", "difference": -0.15, "ci": [-0.3, -0.01]}
    facts["comparisons"] = [row | {"p_holm_first": 0.03}]
    found = {one.kind: one for one in verdict_conclusions(facts, study_findings(facts))}
    assert list(found) == ["above chance", "better than rival", "shortcuts first", "warnings"]
    above = found["above chance"]
    assert (above.about, above.values["p"], above.values["n"]) == ("network", 0.01, 99)
    better = found["better than rival"]
    assert (better.about, better.values["model"]) == ("linear_svm", "network")
    assert better.values["difference"] == 0.15
    assert better.values["ci"] == [0.01, 0.3]
    assert found["warnings"].values["red"] == {"n": 0, "about": []}
    json.dumps([asdict(one) for one in found.values()], allow_nan=False)


def test_study_is_about_its_own_model_until_another_is_exported():
    assert exported_model(study()) == "network"
    assert exported_model(study(exported="linear_svm")) == "linear_svm"


def test_interval_below_chance_is_recognised():
    assert is_below_chance({"auc_ci": [0.16, 0.47]})
    assert not is_below_chance({"auc_ci": [0.16, 0.51]})
    assert not is_below_chance({"auc_ci": [None, None]})


def further_study(cnn=(0.6, 0.45, 0.75), p=0.4, difference=-0.1, permutation=None, **more):
    """A study with a CNN beside its network, and the test of the CNN against a linear SVM."""
    facts = study(small_cnn=cnn, linear_svm=(0.7, 0.6, 0.8), **more)
    facts["kinds"] = KINDS | {"small_cnn": "gradient"}
    # as if the SVM had come first; p of other families must not be taken
    row = {"one": "linear_svm", "other": "small_cnn", "difference": -difference, "ci": [-0.1, 0.3]}
    facts["comparisons"] = [row | {"p_holm": 0.9, "p_holm_further": p}]
    return facts | ({"permutation": permutation} if permutation else {})


def test_each_further_network_has_a_verdict_of_its_own():
    (verdict,) = further_verdicts(further_study()).values()
    assert [one.kind for one in verdict] == ["chance not tested", "no gain over rival"]
    values = verdict[1].values
    assert (verdict[1].about, values["model"], values["p"]) == ("linear_svm", "small_cnn", 0.4)
    assert (values["difference"], values["ci"]) == (-0.1, [-0.3, 0.1])


@pytest.mark.parametrize(
    ("difference", "kind"), [(0.1, "better than rival"), (-0.1, "worse than rival")]
)
def test_further_network_is_held_against_the_best_linear_model(difference, kind):
    found = further_verdicts(further_study(p=0.01, difference=difference))["small_cnn"]
    assert found[1].kind == kind


@pytest.mark.parametrize(
    ("p", "kind"), [(0.01, "above chance"), (0.2, "not above chance"), (None, "chance not tested")]
)
def test_further_network_is_above_chance_by_its_own_permutations(p, kind):
    tested = {} if p is None else {"small_cnn": {"p": p, "observed": 0.7, "null": []}}
    permutation = {"n": 100, "n_repeats": 1, "models": {"network": {}} | tested}
    (one, *_) = further_verdicts(further_study(permutation=permutation))["small_cnn"]
    assert (one.kind, one.about) == (kind, "small_cnn")


def test_shortcuts_and_worse_than_guessing_are_said_of_further_networks():
    found = further_verdicts(further_study(cnn=(0.2, 0.1, 0.4), motion=(0.7, 0.6, 0.8)))
    kinds = [one.kind for one in found["small_cnn"]]
    expected = ["chance not tested", "below chance", "no gain over rival", "shortcuts first"]
    assert kinds == expected


@pytest.mark.parametrize("kind", ["gradient", "pretrained", "closed form"])
def test_networks_have_verdicts_however_they_got_their_weights(kind):
    facts = further_study()
    facts["kinds"] |= {"small_cnn": kind}
    assert list(further_verdicts(facts)) == ["small_cnn"]


def test_studies_of_one_network_have_no_further_verdicts():
    assert further_verdicts(study(linear_svm=(0.7, 0.6, 0.8))) == {}


def test_further_network_that_reaches_more_is_named_beside_the_exported_one():
    facts = further_study(cnn=(0.9, 0.8, 0.95))
    facts["exported"] = {"model": "network", "why": "", "among": ["network", "linear_svm"]}
    values = export_conclusion(facts, "linear_svm").values
    assert (values["better"], values["better_auc"], values["is_further"]) == (
        "small_cnn",
        0.9,
        True,
    )
    facts["models"]["small_cnn"]["auc"] = 0.75
    assert export_conclusion(facts, "linear_svm").values["better"] is None
