import json

import pytest

from fmnet.deploy.choice import Candidate, choose, choose_model, optimism, read_record

NETWORK = Candidate("3D CNN", 0.72)


@pytest.mark.parametrize(
    ("auc", "chosen", "why"),
    [
        (0.71, "3D CNN", "its out-of-fold AUC, 0.720, is larger than that of the linear SVM, 0.71"),
        (0.73, "linear SVM", "AUC, 0.730, is larger than that of the 3D CNN, 0.720"),
        (0.72, "linear SVM", "AUC, 0.720, is that of the 3D CNN as well, and it is the simpler"),
    ],
)
def test_larger_auc_is_chosen_and_a_tie_goes_to_the_linear_model(auc, chosen, why):
    found, reason = choose(NETWORK, Candidate("linear SVM", auc))
    assert found.title == chosen
    assert why in reason


def test_network_is_chosen_where_there_is_nothing_else():
    assert choose(NETWORK, None) == (NETWORK, "there is no linear model to choose instead")


def test_best_of_several_is_said_to_be_optimistic():
    assert optimism(1) == ""
    assert "best of 3 models by these same folds" in optimism(3)


EARLIER = {
    "model": "cnn", "title": "3D CNN", "chosen_among": ["cnn"], "label": "cnn", "positive": "FM",
    "crossvalidation": {"cnn": {"auc": 0.8}, "linear_svm": {"auc": 0.7}},
    "titles": {"cnn": "3D CNN", "linear_svm": "linear SVM"},
}  # fmt: skip


def write_record(run, folder, **record):
    (run / folder).mkdir()
    (run / folder / "training.json").write_text(json.dumps(record))


def test_network_of_an_earlier_run_has_its_name_of_now(tmp_path):
    write_record(tmp_path, "model", **EARLIER)
    found = read_record(tmp_path / "model")
    assert (found["model"], found["chosen_among"]) == ("network", ["network"])
    assert found["crossvalidation"] == {"network": {"auc": 0.8}, "linear_svm": {"auc": 0.7}}
    assert list(found["titles"]) == ["network", "linear_svm"]
    assert found["label"] == "cnn"  # a column of the lab's own


def test_baseline_of_the_earlier_name_keeps_it(tmp_path):
    record = EARLIER | {"crossvalidation": {"network": {"auc": 0.8}, "cnn": {"auc": 0.7}}}
    write_record(tmp_path, "model", **record)
    assert read_record(tmp_path / "model")["model"] == "cnn"


@pytest.mark.parametrize("asked", ["network", "cnn"])
def test_network_is_asked_for_by_either_name(tmp_path, asked):
    write_record(tmp_path, "model", **EARLIER)
    choice = choose_model(tmp_path, asked)
    assert (choice.asked, choice.why) == ("network", "model=network was asked for")
