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
