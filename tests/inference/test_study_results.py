import pytest

from fmnet.inference.study_results import correction, optimism, say_p, warnings_of

CORRECTED = {"auc_corrected": 0.6, "auc_corrected_ci": [0.51, 0.7]}
CHOSEN = CORRECTED | {"among": ["network", "svm", "ridge"], "p": 0.031, "n_permutations": 99}


def test_best_of_several_is_said_to_be_optimistic():
    assert optimism(1) == ""
    assert "best of 3 models by these same folds" in optimism(3)


def training(auc, low, high, name="network", **more):
    figures = {"auc": auc, "auc_ci": [low, high]}
    return {"crossvalidation": {name: figures}} | more


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (training(0.7, 0.51, 0.9), ""),
        (training(0.7, 0.51, 0.9, "cnn"), ""),
        (training(10**400, 0.6, 0.9), "what the signature reaches out of fold is not known"),
        (training(0.43, 0.3, 0.56), "not above chance out of fold (AUC 0.43 [0.30, 0.56])"),
        (training(0.7, 0.5, 0.9), "not above chance out of fold (AUC 0.70 [0.50, 0.90])"),
        (training(0.2, 0.1, 0.3, "svm", model="svm"), "not above chance out of fold (AUC 0.20"),
        (training(0.9, 0.8, 1.0, model="svm"), "what the signature reaches out of fold is not kn"),
        (training(0.9, None, None), "what the signature reaches out of fold is not known"),
        ({"crossvalidation": {"cnn": []}}, "what the signature reaches out of fold is not known"),
        ({}, "what the signature reaches out of fold is not known"),
    ],
)
def test_signature_that_is_not_above_chance_warns(record, said):
    assert said in " ".join(warnings_of(record))
    assert bool(said) == bool(warnings_of(record))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (CHOSEN, ""),
        (
            CHOSEN | {"auc_corrected_ci": [0.49, 0.7]},
            "the interval of the signature's out-of-fold AUC reaches 0.5 (AUC 0.70 [0.55, 0.90]; "
            "0.60 [0.49, 0.70] corrected for the choice of the model; p = 0.031)",
        ),
        (
            CHOSEN | {"p": 0.05},
            "the signature is not above chance out of fold (AUC 0.70 [0.55, 0.90]; 0.60 [0.51, "
            "0.70] corrected for the choice of the model; p = 0.050)",
        ),
        (CHOSEN | {"p": 0.1, "n_permutations": 9}, ""),  # too few to tell anything
        (CORRECTED | {"among": ["svm", "ridge"]}, ""),
        (CORRECTED | {"among": ["svm"], "auc_corrected_ci": [0.4, 0.7]}, ""),
        ({"among": ["svm", "ridge"]}, "what the signature reaches out of fold is not known"),
        (CHOSEN | {"n_permutations": -1}, "what the signature reaches out of fold is not known"),
        (CHOSEN | {"p": "none"}, "what the signature reaches out of fold is not known"),
        ([], ""),
    ],
)
def test_signature_is_judged_by_what_is_left_after_the_choice(chosen, said):
    assert "; ".join(warnings_of(training(0.7, 0.55, 0.9, chosen=chosen))) == said


@pytest.mark.parametrize(
    ("chosen", "n_models", "said"),
    [
        (None, 1, ""),
        ({}, 3, "best of 3 models by these same folds"),
        (
            CHOSEN,
            3,
            "Corrected for its having been chosen among 3 models by these same folds, its AUC is "
            "0.60 [0.51, 0.70]; p = 0.031 by 99 permutations, that choice made anew in each.",
        ),
        (CORRECTED | {"among": ["network"]}, 1, "was settled on before there were any figures"),
    ],
)
def test_what_the_choice_does_to_the_figures_is_said(chosen, n_models, said):
    found = correction(training(0.7, 0.55, 0.9, chosen=chosen), n_models)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.0, "p < 0.001"), (0.00099, "p < 0.001"), (0.001, "p = 0.001"), (0.0316, "p = 0.032"),
     (1.0, "p = 1.000")],
)  # fmt: skip
def test_p_values_are_never_said_to_be_nothing(p, said):
    assert say_p(p) == said


def test_small_p_value_of_many_permutations_is_never_none():
    chosen = {"among": ["network"], "auc_corrected": 0.7, "auc_corrected_ci": [0.4, 0.9]}
    chosen |= {"p": 0.0002, "n_permutations": 4999}
    given = training(0.7, 0.4, 0.9, chosen=chosen)
    assert correction(given, 1).endswith("; p < 0.001 by 4999 permutations.")
    assert "; p < 0.001)" in warnings_of(given)[0]
