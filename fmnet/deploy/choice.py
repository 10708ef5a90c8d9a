"""Which of a run's final models is the one to use, and why."""

from dataclasses import dataclass

#: Where the final network and the final linear model lie in a run folder.
NETWORK_FOLDER, LINEAR_FOLDER = "model", "model_linear"
#: What is said of its training, in either folder; the last file to be written.
RECORD = "training.json"


@dataclass(frozen=True)
class Candidate:
    """A final model with what it reached.

    Parameters
    ----------
    title : str
        Its name for people.
    auc : float
        Out of fold, in the same folds as the other's.
    """

    title: str
    auc: float


def choose(network: Candidate, linear: Candidate | None) -> tuple[Candidate, str]:
    """Choose the model with the larger AUC; a tie goes to the linear one, the simpler of the two.

    Parameters
    ----------
    network, linear : Candidate
        The second is None where there is none.

    Returns
    -------
    tuple
        The model, and why it is this one, for the end of a sentence.
    """
    if linear is None:
        return network, "there is no linear model to choose instead"
    if linear.auc == network.auc:
        return linear, (
            f"its out-of-fold AUC, {linear.auc:.3f}, is that of the {network.title} as well, and "
            "it is the simpler of the two"
        )
    best, other = (linear, network) if linear.auc > network.auc else (network, linear)
    return best, (
        f"its out-of-fold AUC, {best.auc:.3f}, is larger than that of the {other.title}, "
        f"{other.auc:.3f}"
    )


def optimism(n_models: int) -> str:
    """Say what it does to a figure that a model was chosen by it; empty for a single model."""
    if n_models < 2:
        return ""
    return (
        f"It is the best of {n_models} models by these same folds, which makes its figures "
        "slightly optimistic."
    )
