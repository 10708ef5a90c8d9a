import json

import pytest

from fmnet.errors import RunError
from fmnet.runs.final_models import (
    choose,
    choose_model,
    network_kind,
    network_title,
    read_chosen,
    read_record,
)

CORRECTED = {"auc_corrected": 0.6, "auc_corrected_ci": [0.51, 0.7]}
NETWORK = ("ResNet", 0.72)


@pytest.mark.parametrize(
    ("auc", "chosen", "why"),
    [
        (
            0.71,
            "network",
            "its out-of-fold AUC, 0.720, is larger than that of the linear SVM, 0.7",
        ),
        (0.73, "linear", "AUC, 0.730, is larger than that of the ResNet, 0.720"),
        (0.72, "linear", "AUC, 0.720, is that of the ResNet as well, and it is the simpler"),
    ],
)
def test_larger_auc_is_chosen_and_a_tie_goes_to_the_linear_model(auc, chosen, why):
    found, reason = choose(NETWORK, ("linear SVM", auc))
    assert found == chosen
    assert why in reason


def test_network_is_chosen_where_there_is_nothing_else():
    assert choose(NETWORK, None) == ("network", "there is no linear model to choose instead")


EARLIER = {
    "model": "cnn", "title": "3D CNN", "chosen_among": ["cnn"], "label": "cnn", "positive": "FM",
    "crossvalidation": {"cnn": {"auc": 0.8}, "linear_svm": {"auc": 0.7}},
    "titles": {"cnn": "3D CNN", "linear_svm": "linear SVM"},
}  # fmt: skip


SIGNATURE = "fmnet.networks.closed_form.build_scale_space"
PRIOR = "fmnet.networks.closed_form.build_prior_cnn"


def write_record(run, folder, builder=SIGNATURE, n_epochs=0, **record):
    (run / folder).mkdir()
    (run / folder / "training.json").write_text(json.dumps(record | {"n_epochs": n_epochs}))
    built = {"builder": builder, "settings": {}, "input_shape": [1, 7, 8, 9]}
    (run / folder / "network.json").write_text(json.dumps(built))


@pytest.mark.parametrize(
    ("builder", "settings", "epochs", "title"),
    [
        (SIGNATURE, {}, [0, 0, 0], "scale space (closed form)"),
        (SIGNATURE, {}, [0, 3, 0], "scale space (fine-tuned)"),
        (PRIOR, {}, [0, 0], "prior CNN (pretrained)"),
        (PRIOR, {"paths": ["prior", "focal"]}, [0, 2], "prior CNN (pretrained, fine-tuned)"),
        (PRIOR, {"paths": ["focal"]}, [0], "scale space (closed form)"),
        (SIGNATURE, {"paths": ["focal", "prior"]}, [0], "prior CNN (pretrained)"),
        ("fmnet.networks.backbones.build_small_cnn", {}, [8, 9], "small CNN"),
        ("fmnet.networks.backbones.build_small_cnn", {}, [0, 0], "small CNN (no gradient step)"),
        ("fmnet.networks.backbones.build_resnet", {}, [1], "ResNet"),
        ("fmnet.networks.backbones.build_densenet", {}, [1], "DenseNet"),
        ("fmnet.networks.series.build_learned_seeds", {}, [0], "learned seeds (closed form)"),
        (
            "fmnet.networks.series.build_learned_seeds",
            {"paths": ["prior"]},
            [0],
            "learned seeds + prior CNN (pretrained)",
        ),
        (
            "fmnet.networks.series.build_dual_regression",
            {"backbone": "scale_space"},
            [2],
            "dual regression (fine-tuned)",
        ),
        (
            "fmnet.networks.series.build_temporal_filters",
            {"backbone": "resnet"},
            [2],
            "temporal filters + ResNet",
        ),
        ("fmnet.networks.series.build_frames", {}, [2], "frames + small CNN"),
        ("lab.nets.build_pain_net", {}, [4], "pain net"),
        ("lab.pain_net.build", {"backbone": "resnet"}, [4], "pain net"),
        ("lab.nets.PainNet", {}, [4], "PainNet"),
    ],
)
def test_network_is_called_what_it_is_and_how_it_came_about(builder, settings, epochs, title):
    assert network_title(builder, settings, epochs) == title


@pytest.mark.parametrize(
    ("builder", "settings", "epochs", "kind"),
    [
        (SIGNATURE, {}, [0, 0], "closed form"),
        (PRIOR, {}, [0, 0], "pretrained"),
        (PRIOR, {"paths": ["fine"]}, [0], "closed form"),
        (PRIOR, {}, [0, 1], "gradient"),
        ("fmnet.networks.series.build_frames", {"backbone": "scale_space"}, [0], "closed form"),
        ("fmnet.networks.backbones.build_resnet", {}, [2], "gradient"),
    ],
)
def test_network_is_of_the_kind_that_says_how_it_got_its_weights(builder, settings, epochs, kind):
    assert network_kind(builder, settings, epochs) == kind


def test_run_folder_that_is_not_there_is_named_as_such(tmp_path):
    (tmp_path / "file").write_text("")
    for name, found in (("nosuch", "no such folder"), ("file", "no folder, but a file")):
        said = rf"{name}: found {found}; accepted: a run folder.*; to do: correct run_dir"
        with pytest.raises(RunError, match=said):
            choose_model(tmp_path / name, "auto")


def test_network_of_an_earlier_run_has_its_name_of_now(tmp_path):
    write_record(tmp_path, "model", **EARLIER)
    found = read_record(tmp_path / "model")
    assert (found["model"], found["chosen_among"]) == ("network", ["network"])
    assert found["crossvalidation"] == {"network": {"auc": 0.8}, "linear_svm": {"auc": 0.7}}
    assert found["title"] == "scale space (closed form)"
    assert found["titles"] == {"network": found["title"], "linear_svm": "linear SVM"}
    assert found["label"] == "cnn"  # a column of the lab's own


def test_baseline_of_the_earlier_name_keeps_it(tmp_path):
    record = EARLIER | {"crossvalidation": {"network": {"auc": 0.8}, "cnn": {"auc": 0.7}}}
    write_record(tmp_path, "model", **record)
    assert read_record(tmp_path / "model")["model"] == "cnn"


@pytest.mark.parametrize("asked", ["network", "cnn"])
def test_network_is_asked_for_by_either_name(tmp_path, asked):
    write_record(tmp_path, "model", "fmnet.networks.backbones.build_small_cnn", 4, **EARLIER)
    choice = choose_model(tmp_path, asked)
    assert (choice.asked, choice.why) == ("network", "model=network was asked for")
    assert choice.record["title"] == "small CNN"


def test_every_way_to_ask_for_a_model_has_figures_of_its_own(tmp_path):
    network = {"model": "network", "among": ["network"], "p": 0.01} | CORRECTED
    linear = {"model": "svm", "among": ["svm", "ridge"]} | CORRECTED
    exported = {"model": "svm", "among": ["network", "svm", "ridge"], "p": 0.03} | CORRECTED
    metrics = {
        "exported": exported | {"if_asked": {"network": network, "linear": linear}},
        "permutation": {"n": 99},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert read_chosen(tmp_path, "auto", "svm") == CORRECTED | {
        "among": ["network", "svm", "ridge"], "p": 0.03, "n_permutations": 99,
    }  # fmt: skip
    assert read_chosen(tmp_path, "network", "network")["p"] == 0.01
    assert read_chosen(tmp_path, "linear", "svm") == CORRECTED | {"among": ["svm", "ridge"]}
    assert read_chosen(tmp_path, "auto", "network") == {}  # another model than the one in question


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"exported": {"model": "svm", "among": ["network", "svm"]}}']
)
def test_earlier_runs_say_nothing_of_the_choice(tmp_path, text):
    assert read_chosen(tmp_path, "auto", "svm") == {}
    (tmp_path / "metrics.json").write_text(text)
    assert read_chosen(tmp_path, "auto", "svm") == {}


def test_what_is_left_after_the_choice_goes_with_the_model(tmp_path):
    figures = {
        "network": {"auc": 0.6, "auc_ci": [0.5, 0.7]},
        "svm": {"auc": 0.7, "auc_ci": [0.6, 0.8]},
    }
    for folder, name in (("model", "network"), ("model_linear", "svm")):
        record = {"model": name, "title": name, "chosen_among": [name], "crossvalidation": figures}
        write_record(tmp_path, folder, **record)
    exported = {"model": "svm", "among": ["network", "svm"]} | CORRECTED
    (tmp_path / "metrics.json").write_text(json.dumps({"exported": exported}))
    choice = choose_model(tmp_path, "auto")
    assert choice.record["chosen"] == CORRECTED | {"among": ["network", "svm"]}
    assert choice.line.endswith(
        "chosen among 2 models by these same folds, its AUC is 0.60 [0.51, 0.70]."
    )
    assert choose_model(tmp_path, "linear").record["chosen"] == {}


def test_figures_of_a_run_that_was_gone_on_with_take_the_place_of_those_of_before(tmp_path):
    earlier = {
        "network": {"auc": 0.6, "auc_ci": [0.5, 0.7]},
        "svm": {"auc": 0.7, "auc_ci": [0.6, 0.8]},
    }
    write_record(tmp_path, "model", model="network", title="net", crossvalidation=earlier)
    now = {"network": {"auc": 0.6, "auc_ci": [0.4, 0.8]}, "svm": {"auc": 0.9, "auc_ci": [0.8, 1]}}
    (tmp_path / "metrics.json").write_text(json.dumps({"models": now}))
    found = choose_model(tmp_path, "network").record["crossvalidation"]
    assert found == {"network": now["network"], "svm": earlier["svm"]}  # which is another run's
