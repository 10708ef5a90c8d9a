import pytest

from fmnet.study.verdict import verdict

NAMES = {
    "network": "ResNet",
    "linear_svm": "linear SVM",
    "motion": "motion only",
    "frem": "FREM",
}


def metrics(network=(0.7, 0.6, 0.8), p_holm=0.5, difference=0.05, ci=(-0.02, 0.12), **more):
    def figures(auc, low, high):
        return {"auc": auc, "auc_ci": [low, high]}

    others = {name: figures(*value) for name, value in more.items()}
    return {
        "models": {"network": figures(*network), "linear_svm": figures(0.65, 0.55, 0.75), **others},
        "comparisons": [
            {
                "one": "network",
                "other": "linear_svm",
                "difference": difference,
                "ci": ci,
                "p_holm_first": p_holm,
            }
        ],
    }


def permuted(p, n=99, observed=0.7):
    return {
        "permutation": {
            "n": n,
            "n_repeats": 1,
            "models": {"network": {"p": p, "observed": observed}},
        }
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            metrics(),
            "ResNet: AUC 0.70 [0.60, 0.80]; whether that is above chance was not tested",
        ),
        (
            metrics(),
            "On these folds the ResNet adds nothing to the linear SVM (0.65 [0.55, 0.75]) that can "
            "be shown: AUC difference +0.05 [-0.02, +0.12] (0.700 against 0.650), corrected p =",
        ),
        (
            metrics(p_holm=0.01),
            "On these folds the ResNet is better than the linear SVM (0.65 [0.55, 0.75]): AUC "
            "difference +0.05 [-0.02, +0.12] (0.700 against 0.650), corrected p = 0.010.",
        ),
        (metrics(p_holm=0.01, difference=-0.1), "the ResNet is worse than the linear SVM"),
        (
            metrics(p_holm=1.0, difference=0.0, ci=None),
            "AUC difference +0.00 (0.700 against 0.650), corrected p = 1.0",
        ),
        (metrics(p_holm=0.0), "corrected p < 0.001."),
        (metrics(p_holm=None), "the two could not be tested"),
        (metrics(motion=(0.8, 0.7, 0.9)), "know that motion only 0.80 [0.70, 0.90] reaches as far"),
        (metrics(motion=(0.72, 0.45, 0.9)), "know that motion only 0.72 [0.45, 0.90] reaches"),
    ],
)
def test_says_what_the_figures_show(given, said):
    assert said in verdict(given, NAMES)


@pytest.mark.parametrize(
    ("shares", "epochs", "said"),
    [
        ({"places": 0.5, "whole": 0.125, "pairs": 0.375}, 0, "62 % of the final model's score is a "
         "linear map."),
        ({"places": 0.999, "pairs": 0.001}, 0, "More than 99 % of the final model's score"),
        ({"places": 1.0}, 0, "100 % of the final model's score is a linear map."),
        ({"pairs": 1.0}, 0, "0 % of the final model's score is a linear map."),
        ({"places": 1.0}, 3, "100 % of the final model's score is a linear map, before the fine-"),
        ({}, 3, ""),
    ],
)  # fmt: skip
def test_share_that_is_a_linear_map_is_said(shares, epochs, said):
    text = verdict(metrics() | {"path_shares": shares, "final_epochs": epochs}, NAMES)
    assert said in text
    assert ("linear map" in text) == bool(shares)


def test_share_of_a_network_of_series_is_one_of_its_maps():
    given = metrics() | {"path_shares": {"places": 1.0}, "bold": {"reads": "series"}}
    assert "100 % of the final model's score is a linear function of the stem's maps." in verdict(
        given, NAMES
    )


def test_model_that_is_not_above_chance_is_exported_only_when_asked_for():
    exported = {"model": "network", "why": "it is larger", "among": ["network", "linear_svm"]}
    said = verdict(metrics(network=(0.43, 0.3, 0.56)) | {"exported": exported}, NAMES)
    assert said.endswith(
        "Its interval reaches 0.5 or less, so that it takes allow_uninformative=true."
    )


@pytest.mark.parametrize(
    "given",
    [
        metrics(motion=(0.65, 0.45, 0.8)),
        metrics(network=(0.52, 0.4, 0.6), motion=(0.53, 0.45, 0.6)),
    ],
)
def test_shortcut_at_chance_is_no_alarm(given):
    assert "reaches as far" not in verdict(given, NAMES)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            permuted(0.23),
            "not distinguishable from chance (first repeat: AUC 0.70 against 99 permuta",
        ),
        (
            permuted(0.01),
            ", above chance (first repeat: AUC 0.70 against 99 permutations, p = 0.010).",
        ),
        (permuted(0.04, observed=0.47), "not distinguishable from chance"),
        (permuted(0.1, n=9), "9 permutations are too few to tell it from chance"),
    ],
)
def test_permutations_alone_decide_about_chance(more, said):
    assert said in verdict(metrics() | more, NAMES)


def test_further_warnings_are_counted():
    red = {"severity": "red", "text": "Age alone."}
    given = metrics(motion=(0.8, 0.7, 0.9)) | {"findings": [red, red, {"severity": "amber"}]}
    assert verdict(given, NAMES).endswith("1 warning about confounds below.")


def test_motion_that_explains_the_result_is_said_first():
    red = {"severity": "red", "text": "Head motion explains the result: it does."}
    said = verdict(metrics(motion=(0.8, 0.7, 0.9)) | {"findings": [red]}, NAMES)
    assert said.split(". ")[1].startswith("Head motion explains the result, see below")
    assert "Head motion" not in verdict(metrics(motion=(0.8, 0.7, 0.9)), NAMES)


def test_connectivity_is_a_rival():
    given = metrics(connectivity_tangent=(0.75, 0.6, 0.9))
    assert "The tangent connectivity (0.75 [0.60, 0.90]) stands in the same folds" in verdict(
        given, NAMES | {"connectivity_tangent": "tangent connectivity"}
    )


def test_difference_is_read_in_the_right_direction():
    row = {"one": "linear_svm", "other": "network", "difference": 0.1, "ci": [0.02, 0.18]}
    said = verdict(metrics() | {"comparisons": [row | {"p_holm_first": 0.01}]}, NAMES)
    assert "the ResNet is worse than" in said
    assert "AUC difference -0.10 [-0.18, -0.02]" in said


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("linear_svm", {}, "Export takes the linear SVM: it is simpler."),
        ("network", {"frem": (0.9, 0.8, 1.0)}, "FREM reaches more, 0.900, but can't be exported."),
        (
            "network",
            {"connectivity_tangent": (0.9, 0.8, 1.0)},
            "Connectivity_tangent reaches more, 0.900, but can't be exported.",
        ),
        ("network", {"frem": (0.69, 0.6, 0.8)}, "Export takes the ResNet: it is simpler."),
    ],
)
def test_model_that_is_exported_is_named_last(model, more, said):
    exported = {"model": model, "why": "it is simpler", "among": ["network", "linear_svm"]}
    assert verdict(metrics(**more) | {"exported": exported}, NAMES).endswith(said)
