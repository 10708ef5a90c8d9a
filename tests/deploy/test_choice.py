import pytest

from fmnet.deploy.choice import Candidate, choose, optimism

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
