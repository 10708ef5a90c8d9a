"""Which of a run's final models is the one to use, and why."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fmnet.errors import ConfigError, Fault, RunError

#: The network among the models of a study, and what earlier versions called it.
NETWORK, EARLIER_NETWORK = "network", "cnn"
#: Where the final network and the final linear model lie in a run folder.
NETWORK_FOLDER, LINEAR_FOLDER = "model", "model_linear"
#: What is said of its training, in either folder; the last file to be written.
RECORD = "training.json"
#: What is said by runs of before there were two final models.
NETWORK_ALONE = {"model": "network", "title": "3D CNN", "chosen_among": ["network"]}
#: What can be asked for; the last is the earlier name of the network.
ModelName = Literal["auto", "network", "linear", "cnn"]


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


@dataclass(frozen=True)
class Choice:
    """The final model of a run that is exported.

    Parameters
    ----------
    folder : Path
        Where it lies.
    record : dict
        What is said of its training, see `fmnet.study.run_folder.TrainingRecord`.
    asked : str
        As asked for: ``auto``, ``network`` or ``linear``.
    why : str
        Why it is this one, for the end of a sentence.
    n_models : int
        Of how many models it is the best by out-of-fold AUC.
    """

    folder: Path
    record: dict[str, Any]
    asked: ModelName
    why: str
    n_models: int

    @property
    def line(self) -> str:
        """Say what is exported, why, and what the choice does to its figures."""
        said = f"the {self.record['title']} is exported: {self.why}. {optimism(self.n_models)}"
        return said.rstrip()


def choose_model(run_dir: Path, asked: ModelName) -> Choice:
    """Choose among the final models of a run.

    Raises
    ------
    ConfigError
        If there is no linear model, and it was asked for.
    RunError
        If what a run says of its models can't be read.
    """
    asked = NETWORK if asked == EARLIER_NETWORK else asked
    folders = {NETWORK: run_dir / NETWORK_FOLDER, "linear": run_dir / LINEAR_FOLDER}
    if not (folders["linear"] / RECORD).exists():
        if asked == "linear":
            raise ConfigError(_no_linear_model(run_dir))
        del folders["linear"]
    if asked != "auto":
        record = read_record(folders[asked])
        why = f"model={asked} was asked for"
        return Choice(folders[asked], record, asked, why, len(record["chosen_among"]))
    records = {name: read_record(folder) for name, folder in folders.items()}
    candidates = {name: _candidate(record) for name, record in records.items()}
    best, why = choose(candidates[NETWORK], candidates.get("linear"))
    name = next(name for name, one in candidates.items() if one is best)
    n_models = sum(len(record["chosen_among"]) for record in records.values())
    return Choice(folders[name], records[name], asked, why, n_models)


def unfinished(folder: Path, error: Exception) -> RunError:
    """Say that a final model lacks a part."""
    accepted, action = f"a finished run's folder '{folder.name}'", "train again"
    if not folder.parent.is_dir():
        action = "correct run_dir"
    return RunError(Fault(str(folder), str(error), accepted, action))


def read_record(folder: Path) -> dict[str, Any]:
    """Read what is said of the training of the final model in a folder.

    Raises
    ------
    RunError
        If it is missing or can't be read.
    """
    try:
        record: dict[str, Any] = NETWORK_ALONE | json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise unfinished(folder, error) from error
    if NETWORK in record.get("crossvalidation", {}):
        return record
    parts = ("model", "chosen_among", "crossvalidation", "titles")
    return record | {name: rename_network(record[name]) for name in parts if name in record}


def rename_network(found: Any) -> Any:
    """Give the network its name of now wherever an earlier version wrote it: as key or as value."""
    if isinstance(found, dict):
        return {rename_network(name): rename_network(one) for name, one in found.items()}
    if isinstance(found, list):
        return [rename_network(one) for one in found]
    return NETWORK if found == EARLIER_NETWORK else found


def _candidate(record: dict[str, Any]) -> Candidate:
    return Candidate(record["title"], float(record["crossvalidation"][record["model"]]["auc"]))


def _no_linear_model(run_dir: Path) -> Fault:
    return Fault(
        "model",
        f"linear, and no final linear model in '{run_dir}'",
        "auto or network; linear where linear_svm or logistic_ridge is among the run's baselines",
        "train with baselines=default; a run that has one of them makes up for its final model "
        "when its command is given once more with resume=true",
    )
