import pytest

from fmnet.targets.base import Primary
from fmnet.targets.sentences import answer, beside, name_of, stated

AUC = Primary("auc", "macro AUC", 0.5)
KINDS = {
    "network": "closed form", "ridge": "linear", "motion": "shortcut", "fiq": "symptoms",
    "dummy": "chance",
}  # fmt: skip


def facts_of(p=None, low=0.6, p_ridge=0.4, kinds=KINDS, **aucs):
    aucs = {"network": 0.7, "ridge": 0.65, "motion": 0.52, "fiq": 0.55, "dummy": 0.5} | aucs
    models = {
        name: {"auc": auc, "auc_ci": [auc - 0.7 + low, auc + 0.1]}
        for name, auc in aucs.items()
        if name in kinds
    }
    rows = [{"model": "network", "rival": "ridge", "p": 0.01, "p_holm": p_ridge}]
    found = {"studied": "network", "models": models, "kinds": kinds, "comparisons": rows}
    return found | ({} if p is None else {"permutation": {"models": {"network": {"p": p}}}})


@pytest.mark.parametrize(
    ("p", "low", "is_shown"),
    [(0.01, 0.4, True), (0.2, 0.6, False), (None, 0.6, True), (None, 0.45, False)],
)
def test_permutations_decide_where_there_are_some(p, low, is_shown):
    said = answer(facts_of(p, low), AUC, "scans tell")
    assert said.text.startswith(
        "In this cohort scans" if is_shown else "It is not shown that scans"
    )
    assert said.severity == ("none" if is_shown else "amber")
    assert ("not permuted" in said.text) == (p is None)


def test_of_few_permutations_nothing_is_said():
    facts = facts_of(p=0.1)
    facts["permutation"]["n"] = 9
    said = answer(facts, AUC, "scans tell")
    assert said.text.startswith("Too few permutations (9) to tell whether scans tell")
    assert said.severity == "amber"


def test_below_chance_nothing_is_shown():
    assert answer(facts_of(p=0.01, network=0.45), AUC, "scans tell").severity == "amber"


@pytest.mark.parametrize(
    ("p_ridge", "ridge", "words"),
    [
        (0.4, 0.65, "It is not distinguishable from ridge (macro AUC 0.65 [0.55, 0.75]), the best"),
        (0.01, 0.65, "It is better than ridge"),
        (0.01, 0.8, "Ridge (macro AUC 0.80 [0.70, 0.90]), the best linear model, is better."),
        (None, 0.65, "It is better than ridge"),  # not corrected
    ],
)
def test_the_best_linear_model_is_what_counts(p_ridge, ridge, words):
    (said,) = beside(facts_of(p_ridge=p_ridge, ridge=ridge), AUC)
    assert said.text.startswith(words)


def test_models_without_a_brain_are_named_where_they_do_as_well():
    said = beside(facts_of(motion=0.71, fiq=0.9), AUC)
    assert [one.severity for one in said] == ["none", "red", "amber"]
    assert said[1].text.startswith("Motion (macro AUC 0.71")
    nothing = beside(facts_of(network=0.4, motion=0.45), AUC)
    assert [one.severity for one in nothing] == ["none"]


def test_without_a_linear_model_the_best_other_one_is_compared():
    kinds = {name: kind for name, kind in KINDS.items() if name != "ridge"}
    assert beside(facts_of(kinds=kinds), AUC)[0].text.endswith("the best of the others.")
    assert beside(facts_of(kinds={"network": "closed form", "dummy": "chance"}), AUC) == []


def test_models_are_named_as_reports_do():
    assert name_of({"titles": {"network": "prior CNN"}}, "network") == "prior CNN"
    assert name_of({}, "voxel_ridge") == "voxel ridge"
    assert stated({"auc": None}, AUC) == "macro AUC unknown"
    assert stated({"auc": 0.7, "auc_ci": None}, AUC) == "macro AUC 0.70"
