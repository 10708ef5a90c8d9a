import pytest

from fmnet.evaluation.conclusions import Conclusion, further_verdicts, verdict_conclusions
from fmnet.report import sentences
from fmnet.report.sentences import MOTION_ALONE, NO_EFFECT, control

NAMES = {
    "network": "ResNet",
    "linear_svm": "linear SVM",
    "motion": "motion only",
    "frem": "FREM",
}


KINDS = {
    "network": "gradient",
    "linear_svm": "linear",
    "frem": "linear",
    "connectivity_tangent": "connectivity",
    "motion": "shortcut",
}


def verdict(facts, titles):
    """What is said of a study, its findings given as ``findings``."""
    findings, n_of_network = facts.get("findings", []), facts.get("n_of_network", 0)
    return sentences.verdict(verdict_conclusions(facts, findings, n_of_network), titles)


def metrics(network=(0.7, 0.6, 0.8), p_holm=0.5, difference=0.05, ci=(-0.02, 0.12), **more):
    def figures(auc, low, high):
        return {"auc": auc, "auc_ci": [low, high]}

    others = {name: figures(*value) for name, value in more.items()}
    return {
        "studied": "network",
        "kinds": KINDS,
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
        ({"focal": 0.5, "distributed": 0.125, "voxel_pairs": 0.375}, 0,
         "62 % of the final model's score is a linear map."),
        ({"focal": 0.999, "voxel_pairs": 0.001}, 0, "More than 99 % of the final model's score"),
        ({"focal": 1.0}, 0, "100 % of the final model's score is a linear map."),
        ({"voxel_pairs": 1.0}, 0, "0 % of the final model's score is a linear map."),
        ({"focal": 1.0}, 3, "100 % of the final model's score is a linear map, before the fine-"),
        ({"prior": 0.25, "fine": 0.5, "voxel_pairs": 0.25}, 0,
         "75 % of the final model's score is a linear map; a pretrained CNN wrote 25 % of the"),
        ({}, 3, ""),
    ],
)  # fmt: skip
def test_share_that_is_a_linear_map_is_said(shares, epochs, said):
    text = verdict(metrics() | {"path_shares": shares, "final_epochs": epochs}, NAMES)
    assert said in text
    assert ("linear map" in text) == bool(shares)


def test_share_of_a_network_of_series_is_one_of_its_maps():
    given = metrics() | {"path_shares": {"focal": 1.0}, "bold": {"reads": "series"}}
    assert "100 % of the final model's score is a linear function of the stem's maps." in verdict(
        given, NAMES
    )


def test_model_that_is_not_above_chance_is_exported_only_when_asked_for():
    exported = {"model": "network", "why": "it is larger", "among": ["network", "linear_svm"]}
    said = verdict(metrics(network=(0.43, 0.3, 0.56)) | {"exported": exported}, NAMES)
    assert said.endswith(
        "Its interval reaches 0.5 or less, so that it takes allow_uninformative=true."
    )


def test_interval_that_decides_on_export_is_the_corrected_one():
    exported = {"model": "network", "why": "it is larger", "among": ["network", "linear_svm"]}
    exported |= {"auc_corrected": 0.66, "auc_corrected_ci": [0.48, 0.79]}
    said = verdict(metrics(network=(0.7, 0.52, 0.83)) | {"exported": exported}, NAMES)
    assert "The corrected interval reaches 0.5 or less, so that" in said


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


def finding(severity, about="", kind="not examined", **values):
    return Conclusion(kind, severity, about, values)


MOTION = finding("red", "motion", "shortcut reaches model")


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (
            [MOTION, finding("red", "head_size"), finding("amber")],
            "1 warning about confounds below (head_size), 1 note.",
        ),
        ([MOTION], "reaches as far."),
        (
            [finding("amber", "head_size"), finding("amber", "age"), finding("amber", "age")],
            "3 notes about confounds below (head_size, age).",
        ),
        (
            [finding("red", name) for name in "abcdef"],
            "6 warnings about confounds below (a, b, c, d and 2 more).",
        ),
        (
            [
                *(finding("amber", name) for name in "abcde"),
                finding("amber", "head_size", "head sizes differ"),
            ],
            "6 notes about confounds below (head_size, a, b, c and 2 more).",
        ),
        ([finding("red")], "1 warning about confounds below."),
    ],
)
def test_further_warnings_and_notes_are_counted_and_named(findings, said):
    given = metrics(motion=(0.8, 0.7, 0.9)) | {"findings": findings}
    assert verdict(given, NAMES).endswith(said)


def test_warnings_in_the_audit_of_the_network_are_counted_apart():
    given = metrics() | {"findings": [finding("amber", "age")], "n_of_network": 1}
    said = "1 note about confounds below (age); 1 warning in the network's own audit."
    assert verdict(given, NAMES).endswith(said)


def test_study_without_permutations_says_once_that_nothing_was_tested():
    given = chosen("linear_svm")
    del given["permutation"]
    text = verdict(given, NAMES)
    assert text.count("was not tested (permutation.n=100 would)") == 1
    assert "ResNet by itself: AUC 0.70 [0.60, 0.80]." in text


def test_interval_that_reaches_a_half_is_said_to_be_the_corrected_one():
    given = chosen("network", 0.04)
    given["exported"]["auc_corrected_ci"] = [0.49, 0.7]
    assert "The corrected interval reaches 0.5 or less" in verdict(given, NAMES)


def test_people_who_may_be_one_under_several_names_come_before_all_that_rests_on_them():
    groups = [{"people": ["a", "b"]}, {"people": ["c", "d"]}]
    alike = finding("red", kind="look-alikes", groups=groups)
    said = verdict(metrics() | {"findings": [alike, finding("red", "age")]}, NAMES)
    assert said.split(". ")[1].startswith(
        "None of this holds if people are in it twice: the maps of 4 are"
    )
    assert said.endswith("1 warning about confounds below (age).")


def test_motion_that_explains_the_result_is_said_first():
    red = finding("red", "fd", "motion explains result")
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
        ("linear_svm", {}, "By default export takes the linear SVM: it is simpler."),
        ("network", {"frem": (0.9, 0.8, 1.0)}, "FREM reaches more, 0.900, but can't be exported."),
        (
            "network",
            {"connectivity_tangent": (0.9, 0.8, 1.0)},
            "Connectivity tangent reaches more, 0.900, but can't be exported.",
        ),
        (
            "network",
            {"frem": (0.69, 0.6, 0.8)},
            "By default export takes the ResNet: it is simpler.",
        ),
    ],
)
def test_model_that_is_exported_is_named_last(model, more, said):
    exported = {"model": model, "why": "it is simpler", "among": ["network", "linear_svm"]}
    assert verdict(metrics(**more) | {"exported": exported}, NAMES).endswith(said)


def chosen(model, p=None, among=("network", "linear_svm", "logistic_ridge"), **more):
    """A study whose model was chosen among three; the network's own p is 0.03."""
    exported = {
        "model": model,
        "why": "it is larger",
        "among": list(among),
        "auc_corrected": 0.6,
        "auc_corrected_ci": [0.51, 0.7],
    }
    exported |= {} if p is None else {"p": p}
    tested = permuted(0.03)
    tested["permutation"]["models"]["linear_svm"] = {"p": 0.02, "observed": 0.65}
    return metrics() | tested | {"exported": exported | more}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            chosen("network", 0.04),
            [
                "ResNet, which export takes by default: AUC 0.70 [0.60, 0.80], or 0.60 "
                "[0.51, 0.70] corrected for its having been chosen among 3 models, above chance "
                "(first repeat: AUC 0.70 against the largest of the 3 in each of 99 "
                "permutations, p = 0.040).",
                "By itself, as if it alone had been planned, the ResNet is above chance (p = "
                "0.030).",
            ],
        ),
        (
            chosen("network", 0.08),
            [
                "chosen among 3 models, not distinguishable from chance (first repeat: AUC 0.70 ",
                "By itself, as if it alone had been planned, the ResNet is above chance (p = "
                "0.030).",
            ],
        ),
        (
            chosen("linear_svm", 0.08),
            [
                "Linear SVM, which export takes by default: AUC 0.65 [0.55, 0.75], or 0.60 "
                "[0.51, 0.70]",
                "not distinguishable from chance (first repeat: AUC 0.65 against the largest of "
                "the 3 in each of 99 permutations, p = 0.080).",
                "ResNet by itself, as if it alone had been planned: AUC 0.70 [0.60, 0.80], above "
                "chance (first repeat: AUC 0.70 against 99 permutations, p = 0.030).",
            ],
        ),
        (
            chosen("linear_svm", not_permuted=["frem"]),
            [
                "whether that is above chance is not known: permutations of an earlier version "
                "left out FREM (permutation.n=100 with resume=true makes others).",
            ],
        ),
        (
            {**chosen("linear_svm"), "permutation": None},
            ["chosen among 3 models; whether that is above chance was not tested"],
        ),
    ],
)
def test_model_that_is_exported_comes_first_with_its_own_p(given, said):
    text = verdict({name: one for name, one in given.items() if one is not None}, NAMES)
    assert text.startswith(f"{NAMES[given['exported']['model']][:4].capitalize()}"[:1])
    for part in said:
        assert part in text
    assert "p = 0.020" not in text  # the linear model's as if it alone had been planned


def test_what_is_exported_is_judged_by_its_corrected_interval():
    given = chosen("network", 0.04)
    assert "allow_uninformative" not in verdict(given, NAMES)
    given["exported"]["auc_corrected_ci"] = [0.49, 0.7]
    assert verdict(given, NAMES).endswith("so that it takes allow_uninformative=true.")
    untold = "Permutations don't tell it from chance, so that it takes allow_uninformative=true."
    assert verdict(chosen("network", 0.05), NAMES).endswith(untold)
    few = chosen("network", 0.1)
    few["permutation"]["n"] = 9
    assert "allow_uninformative" not in verdict(few, NAMES)


@pytest.mark.parametrize(
    ("figures", "who"),
    [
        ({"network": (0.31, 0.16, 0.47)}, "The ResNet puts new people the wrong way round"),
        ({"network": (0.31, 0.16, 0.5)}, ""),
        ({"network": (0.7, 0.6, 0.8)}, ""),
    ],
)
def test_interval_below_chance_is_no_evidence_of_an_effect(figures, who):
    text = verdict(metrics(**figures), NAMES)
    assert (who or "wrong way") in text if who else "wrong way" not in text
    assert ("worse than guessing, and no evidence of an effect" in text) == bool(who)
    assert "above chance (" not in text


def test_share_of_a_network_that_is_not_exported_is_said_to_be_its_own():
    given = chosen("linear_svm", 0.04) | {"path_shares": {"focal": 1.0}}
    assert "100 % of the final network's score is a linear map." in verdict(given, NAMES)


def test_shortcuts_are_held_against_the_model_that_is_exported():
    given = chosen("linear_svm", 0.04)
    given["models"]["motion"] = {"auc": 0.58, "auc_ci": [0.51, 0.7]}
    assert "know that motion only 0.58 [0.51, 0.70] reaches as far" in verdict(given, NAMES)
    given["exported"]["model"] = "network"
    assert "reaches as far" not in verdict(given, NAMES)


@pytest.mark.parametrize(
    ("cohort", "said"),
    [
        ({"coupling": 0.0, "task_effect": 0.0, "motion_effect": 0.0}, NO_EFFECT),
        ({"coupling": 0.0, "task_effect": 0.0, "motion_effect": 2.0}, MOTION_ALONE),
        ({"coupling": 0.3, "task_effect": 0.0, "motion_effect": 2.0}, ""),
        ({"coupling": 0.0, "task_effect": 1.0, "motion_effect": 0.0}, ""),
        ({"effect_size": 0.0}, NO_EFFECT),
        ({"amplitude": 0.0}, NO_EFFECT),
        ({"effect_size": 1.0}, ""),
        ({}, ""),
    ],
)
def test_cohorts_without_an_effect_are_controls(cohort, said):
    assert control({"cohort": cohort}) == said


def further_text(p=None, permutation=None, **more):
    """What is said of a CNN beside the network of a study."""
    facts = metrics(small_cnn=(0.6, 0.45, 0.75), **more)
    facts["kinds"] = KINDS | {"small_cnn": "gradient"}
    tested = {} if p is None else {"small_cnn": {"p": p, "observed": 0.62}}
    if permutation is not None:
        facts["permutation"] = {"n": permutation, "n_repeats": 1, "models": tested}
    (verdict,) = further_verdicts(facts).values()
    return sentences.verdict(verdict, {"small_cnn": "small CNN", "linear_svm": "linear SVM"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {},
            "Small CNN: AUC 0.60 [0.45, 0.75]; whether that is above chance was not tested "
            "(permutation.models=[small_cnn] permutation.n=100 would).",
        ),
        ({"permutation": 99}, "(permutation.models=[small_cnn] with resume=true would)."),
        (
            {"permutation": 99, "p": 0.02},
            "Small CNN, as if it alone had been planned: AUC 0.60 [0.45, 0.75], above chance "
            "(first repeat: AUC 0.62 against 99 permutations, p = 0.020).",
        ),
        ({"permutation": 99, "p": 0.3}, "[0.45, 0.75], not distinguishable from chance (first"),
        ({"permutation": 9, "p": 0.1}, "9 permutations are too few to tell it from chance"),
    ],
)
def test_further_network_is_said_to_be_above_chance_or_not(given, said):
    assert said in further_text(**given)


def test_further_network_that_could_not_be_tested_is_said_to_stand_there():
    assert "The linear SVM (0.65 [0.55, 0.75]) stands in the same folds" in further_text()
