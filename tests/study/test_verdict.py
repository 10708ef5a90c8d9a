import pytest

from fmnet.study.verdict import verdict

NAMES = {"cnn": "CNN", "linear_svm": "linear SVM", "motion": "motion only"}


def metrics(cnn=(0.7, 0.6, 0.8), p_holm=0.5, difference=0.05, **more):
    def figures(auc, low, high):
        return {"auc": auc, "auc_ci": [low, high]}

    others = {name: figures(*value) for name, value in more.items()}
    return {
        "models": {"cnn": figures(*cnn), "linear_svm": figures(0.65, 0.55, 0.75), **others},
        "comparisons": [
            {"one": "cnn", "other": "linear_svm", "difference": difference, "p_holm": p_holm}
        ],
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (metrics(), "CNN: AUC 0.70 [0.60, 0.80], above chance by its interval"),
        (metrics(), "It is not distinguishable from linear SVM 0.65 [0.55, 0.75]."),
        (metrics(cnn=(0.55, 0.4, 0.7)), "CNN: AUC 0.55 [0.40, 0.70], not distinguishable from ch"),
        (metrics(cnn=(0.3, 0.2, 0.4)), "below chance by its interval"),
        (metrics(p_holm=0.01), "It is better than linear SVM 0.65 [0.55, 0.75] (p = 0.010)."),
        (metrics(p_holm=0.01, difference=-0.1), "It is worse than linear SVM"),
        (metrics(p_holm=None), "the two were not compared"),
        (
            metrics(motion=(0.8, 0.7, 0.9)),
            "know that motion only 0.80 [0.70, 0.90] does as well",
        ),
    ],
)
def test_says_what_the_figures_show(given, said):
    assert said in verdict(given, NAMES)


def test_shortcut_at_chance_is_no_alarm():
    assert "does as well" not in verdict(metrics(motion=(0.65, 0.45, 0.8)), NAMES)


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.23, "not distinguishable from chance (p = 0.230"), (0.01, ", above chance (")],
)
def test_permutations_decide_about_chance(p, said):
    given = metrics() | {"permutation": {"n": 99, "models": {"cnn": {"p": p}}}}
    assert said in verdict(given, NAMES)
    assert "99 permutations" in verdict(given, NAMES)


def test_difference_is_read_in_the_right_direction():
    row = {"one": "linear_svm", "other": "cnn", "difference": 0.1, "p_holm": 0.01}
    assert "It is worse than" in verdict(metrics() | {"comparisons": [row]}, NAMES)
