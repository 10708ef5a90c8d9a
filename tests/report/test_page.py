import re

import pytest
from run_fixtures import study_settings

from fmnet.crossval.permutation import PermutationPlan
from fmnet.report.methods import methods_paragraphs
from fmnet.report.page import choice_rows, rerun_models, shown_models
from fmnet.report.terminal import model_lines
from fmnet.studies.study import run_study

#: Of a study of a network alone, in closed form.
FIGURES = {
    "n_scans": 30, "n_subjects": 30, "n_positive": 15, "n_epochs": [0, 0], "models": {},
    "studied": "network", "titles": {},
}  # fmt: skip


@pytest.mark.slow
def test_best_rival_need_not_have_been_permuted(study_root):
    run_dir = study_root / "rival-not-permuted"
    run_study(**study_settings(study_root, run_dir, permutation=PermutationPlan(1, models=())))
    page = re.sub('base64,[^"]*', "", (run_dir / "report.html").read_text())  # may hold any word
    # of the largest, of the network and of the linear SVM, which is permuted unasked
    assert page.count('<img alt="AUC with shuffled labels, ') == 3
    assert "nan" not in page
    assert "None" not in page.replace("<p>None.</p>", "")


def test_curves_show_the_network_and_the_best_linear_model():
    figures = {"network": 0.7, "dummy": 0.5, "linear_svm": 0.6, "frem": 0.8, "questionnaires": 0.99}
    models = {name: {"auc": auc} for name, auc in figures.items()}
    kinds = {"dummy": "chance", "linear_svm": "linear", "frem": "linear"}
    facts = {"studied": "network", "kinds": kinds, "models": models}
    assert shown_models(facts) == ["network", "frem"]
    assert shown_models(facts | {"models": {"network": {"auc": 0.7}}}) == ["network"]
    exported = {"model": "linear_svm"}
    assert shown_models(facts | {"exported": exported}) == ["linear_svm", "network", "frem"]
    further = {"kinds": kinds | {"small_cnn": "gradient"}}
    further["models"] = models | {"small_cnn": {"auc": 0.5}}
    assert shown_models(facts | further) == ["network", "frem", "small_cnn"]
    others = {name: models[name] for name in ("network", "dummy", "questionnaires")}
    assert shown_models(facts | {"models": others}) == ["network", "questionnaires"]


def study_of(**exported):
    figures = {"auc": 0.7, "auc_ci": [0.6, 0.8], "balanced_accuracy": 0.6}
    corrected = {"auc_corrected": 0.65, "auc_corrected_ci": [0.55, 0.75]}
    linear = {"model": "linear_svm", "among": ["linear_svm"]} | corrected
    network = {"model": "network", "among": ["network"], "p": 0.01} | corrected
    chosen = {"model": "linear_svm", "among": ["network", "linear_svm"], "p": 0.03} | corrected
    return {
        "models": {"network": figures, "linear_svm": figures | {"auc": 0.71}},
        "titles": {"network": "ResNet", "linear_svm": "linear SVM"},
        "exported": chosen | {"if_asked": {"network": network, "linear": linear}} | exported,
    }


def test_every_way_to_export_is_tabulated_with_its_own_figures():
    rows = choice_rows(study_of())
    assert [row["asked"] for row in rows] == ["model=auto", "model=network", "model=linear"]
    assert [row["auc"] for row in rows] == [0.71, 0.7, 0.71]
    assert [row["p"] for row in rows] == [0.03, 0.01, None]
    assert choice_rows(study_of(among=["network"])) == []


def test_corrected_figure_stands_below_that_of_the_model_that_is_exported():
    lines = model_lines(study_of())
    assert lines[1:] == [
        "  linear SVM  AUC 0.71 [0.60, 0.80]   balanced accuracy 0.60",
        "              AUC 0.65 [0.55, 0.75]   corrected for its choice   p = 0.030",
    ]


def test_reruns_are_tabulated_for_models_that_all_of_them_hold():
    reruns = {
        "one": {"models": {"linear_svm": {}, "network": {}}},
        "two": {"models": {"network": {}}},
        "three": {"lacking": "sites"},
    }
    assert rerun_models({"models": {"network": {}, "linear_svm": {}}, "sensitivity": reruns}) == [
        "network"
    ]


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ({"n_splits": 5, "n_repeats": 1}, "5-fold cross-validation, once, split by subject"),
        ({"n_splits": 5, "n_repeats": 10}, "repeated 10 times"),
        ({"_target_": "fmnet.data.folds.build_site_folds"}, "Each site was tested by models"),
        ({"_target_": "fmnet.data.folds.read_folds"}, "folds by subject that were given"),
    ],
)
def test_methods_say_how_models_were_assessed(build_study, folds, said):
    metrics = FIGURES | {"n_epochs": [2, 2]}
    text = " ".join(methods_paragraphs(build_study().cohort, metrics, {"folds": folds}))
    assert said in text
    assert "FREM" not in text


def test_methods_say_what_of_the_network_is_linear(build_study):
    metrics = FIGURES | {"path_shares": {"focal": 0.5, "distributed": 0.125, "voxel_pairs": 0.375}}
    settings = {"network": {"_target_": "fmnet.networks.closed_form.build_scale_space"}}
    text = " ".join(methods_paragraphs(build_study().cohort, metrics, settings))
    assert "A 3D network (scale space) got its weights from the training scans" in text
    assert "weights all over the brain 12 %, products of two voxels 38 %" in text
    assert "62 % of the final network's score is a linear map." in text


def test_untrained_network_is_not_said_to_be_of_closed_form(build_study):
    settings = {"network": {"_target_": "fmnet.networks.backbones.build_small_cnn"}}
    text = " ".join(methods_paragraphs(build_study().cohort, FIGURES, settings))
    assert "A 3D network (small cnn) was used with the weights that it starts from" in text
    assert "closed form" not in text


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (
            {"_target_": "torch.optim.AdamW", "lr": 0.001, "weight_decay": 0.01, "fused": True},
            "was trained with AdamW (learning rate 0.001, weight decay 0.01, batches of 8) for a "
            "number of epochs chosen on inner folds (between 2 and 5).",
        ),
        (
            {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
            "with SGD (learning rate 0.1, momentum 0.9, batches of 8)",
        ),
        (None, "was trained for a number of epochs"),
    ],
)
def test_methods_say_how_weights_were_learned(build_study, optimizer, said):
    settings = {"network": {"_target_": "fmnet.networks.backbones.build_small_cnn"}}
    settings |= {"optimizer": optimizer, "batch_size": 8}
    metrics = FIGURES | {"n_epochs": [2, 5]}
    assert said in " ".join(methods_paragraphs(build_study().cohort, metrics, settings))


@pytest.mark.parametrize(
    ("n_epochs", "fwhm_mm", "said"),
    [
        (
            [3, 12], 8.0,
            "The small CNN read maps smoothed by 8 mm and was trained with SGD (learning rate 0.1, "
            "batches of 4) for a number of epochs chosen on inner folds (between 3 and 12).",
        ),
        ([5, 5], None, "The small CNN was trained with SGD (learning rate 0.1, batches of 4) for"),
        ([0, 0], None, "The small CNN was fitted to the training scans in closed form."),
    ],
)  # fmt: skip
def test_methods_say_what_is_different_about_further_networks(build_study, n_epochs, fwhm_mm, said):
    optimizer = {"_target_": "torch.optim.SGD", "lr": 0.1}
    asked = {"optimizer": optimizer, "fwhm_mm": fwhm_mm}
    settings = {"models": {"small_cnn": asked}, "batch_size": 4}
    further = {"small_cnn": {"n_epochs": n_epochs}}
    named = {"titles": {"small_cnn": "small CNN"}, "kinds": {"small_cnn": "gradient"}}
    metrics = FIGURES | named | {"further": further}
    assert said in " ".join(methods_paragraphs(build_study().cohort, metrics, settings))
