from fmnet.deploy.model_card import model_card

SENTENCE = "NEGATIVE CONTROL: labels were shuffled before anything else."


def test_control_stands_in_bold_at_the_top(bundle):
    training = bundle.metadata["training"] | {"control": SENTENCE}
    lines = model_card(bundle.metadata | {"training": training}).splitlines()
    assert lines[2] == f"**{SENTENCE}**"
    assert lines[4].startswith("**Trained on synthetic data")


def test_without_control_nothing_is_said_of_one(bundle):
    training = bundle.metadata["training"] | {"control": "", "origin": ""}
    lines = model_card(bundle.metadata | {"training": training}).splitlines()
    assert lines[2] == "## Intended use"


def test_each_model_is_said_to_have_reached_its_own_figures(bundle, chosen):
    for metadata, title, own in (
        (bundle.metadata, "3D CNN", "cnn"),
        (chosen.bundle.metadata, "linear SVM", "linear_svm"),
    ):
        card, figures = model_card(metadata), metadata["training"]["crossvalidation"][own]
        assert f"Out of fold the {title} reaches AUC {figures['auc']:.2f} [" in card
        assert card.count("(this model)") == 1
        assert f"| {own} (this model) | {figures['auc']:.2f} [" in card


def test_best_of_two_is_said_to_be_optimistic(bundle, chosen):
    assert "best of 2 models by these same folds" in model_card(chosen.bundle.metadata)
    assert "A 3D CNN, exported because model=cnn was asked for." in model_card(bundle.metadata)
    assert "optimistic" not in model_card(bundle.metadata)
