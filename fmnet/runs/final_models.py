"""The final models of a run: what is said of their training, and which of them is exported."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fmnet.earlier import EARLIER_NETWORK, EARLIER_TITLE, rename_network
from fmnet.errors import ConfigError, ExportError, Fault, RunError
from fmnet.inference.study_results import correction, warnings_of
from fmnet.types import NETWORK

#: Where the final network and the final linear model lie in a run folder.
NETWORK_FOLDER, LINEAR_FOLDER = "model", "model_linear"
#: What is said of its training, in either folder; the last file to be written.
RECORD = "training.json"
#: What is said by runs of before there were two final models.
NETWORK_ALONE = {"model": NETWORK, "chosen_among": [NETWORK]}
#: Networks that aren't called by the name of their builder.
TITLES = {"small_cnn": "small CNN", "resnet": "ResNet", "densenet": "DenseNet"}
#: The network whose weights come from the training scans in closed form.
SCALE_SPACE = "scale_space"
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


def network_title(builder: str, settings: Mapping[str, Any], epochs: Collection[int]) -> str:
    """Name a network for people: what it is, and whether gradients had a part in it.

    Parameters
    ----------
    builder : str
        Dotted name of what builds it.
    settings : dict
        What the builder is called with; ``backbone`` names what follows a stem.
    epochs : collection of int
        Lengths of training that were chosen, one for each training.
    """
    module, _, function = builder.rpartition(".")
    kind = function.removeprefix("build_")
    kind = str(settings.get("name", "resnet10")) if kind == "monai" else kind
    name, last = _spoken(module.rpartition(".")[2] if kind == "build" else kind), kind
    if module == "fmnet.networks.series":
        last = settings.get("backbone", "small_cnn" if kind == "frames" else SCALE_SPACE)
        name += "" if last == SCALE_SPACE else f" + {_spoken(last)}"
    if not any(epochs):
        # other networks have nothing but the weights that they start from
        return f"{name} ({'closed form' if last == SCALE_SPACE else 'no gradient step'})"
    return f"{name} (fine-tuned)" if last == SCALE_SPACE else name


def _spoken(kind: str) -> str:
    return TITLES.get(kind, kind.replace("_", " "))


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


@dataclass(frozen=True)
class Choice:
    """The final model of a run that is exported.

    Parameters
    ----------
    folder : Path
        Where it lies.
    record : dict
        What is said of its training, see `fmnet.runs.run_folder.TrainingRecord`, and under
        ``chosen`` of the choice, see `read_chosen`.
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
        said = f"the {self.record['title']} is exported: {self.why}."
        marks = [f"Beware: {text}." for text in warnings_of(self.record)]
        return " ".join(filter(None, [said, correction(self.record, self.n_models), *marks]))


def choose_model(run_dir: Path, asked: ModelName) -> Choice:
    """Choose among the final models of a run.

    Raises
    ------
    ConfigError
        If there is no linear model, and it was asked for.
    RunError
        If what a run says of its models can't be read.
    """
    asked = "network" if asked == EARLIER_NETWORK else asked
    if not run_dir.is_dir():
        found = "no folder, but a file" if run_dir.exists() else "no such folder"
        accepted, action = "a run folder, which scripts/train.py prints last", "correct run_dir"
        raise RunError(Fault(str(run_dir), found, accepted, action))
    folders = {NETWORK: run_dir / NETWORK_FOLDER, "linear": run_dir / LINEAR_FOLDER}
    if not (folders["linear"] / RECORD).exists():
        if asked == "linear":
            raise ConfigError(_no_linear_model(run_dir))
        del folders["linear"]
    if asked != "auto":
        record = read_record(folders[asked])
        why = f"model={asked} was asked for"
        record["chosen"] = read_chosen(run_dir, asked, record["model"])
        _restate(record, run_dir)
        return Choice(folders[asked], record, asked, why, len(record["chosen_among"]))
    records = {name: read_record(folder) for name, folder in folders.items()}
    candidates = {name: _candidate(record) for name, record in records.items()}
    best, why = choose(candidates[NETWORK], candidates.get("linear"))
    name = next(name for name, one in candidates.items() if one is best)
    n_models = sum(len(record["chosen_among"]) for record in records.values())
    records[name]["chosen"] = read_chosen(run_dir, asked, records[name]["model"])
    _restate(records[name], run_dir)
    return Choice(folders[name], records[name], asked, why, n_models)


def read_chosen(run_dir: Path, asked: ModelName, model: str) -> dict[str, Any]:
    """Read what the AUC of the model that is exported is worth after the choice among models.

    Parameters
    ----------
    run_dir : Path
        A run.
    asked : {"auto", "network", "linear"}
        What export is asked for.
    model : str
        What it came to.

    Returns
    -------
    dict
        ``among``, the models it was chosen among; ``auc_corrected``, ``auc_corrected_ci``; ``p``
        and ``n_permutations`` where labels were permuted. Empty for runs of earlier versions.
    """
    try:
        metrics = json.loads((run_dir / "metrics.json").read_text("utf-8"))
        exported = metrics["exported"]
        one = exported if asked == "auto" else exported["if_asked"][asked]
        if one["model"] != model:
            return {}
        chosen = {name: one[name] for name in ("among", "auc_corrected", "auc_corrected_ci")}
        if "p" in one:
            chosen |= {"p": one["p"], "n_permutations": metrics["permutation"]["n"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return chosen


def _restate(record: dict[str, Any], run_dir: Path) -> None:
    """Take the figures of a run that a later version went on with, which has other intervals."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        own = record["crossvalidation"]
        models = rename_network(json.loads((run_dir / "metrics.json").read_text("utf-8"))["models"])
        same = {
            name: models[name]
            for name in own.keys() & models.keys()
            if abs(models[name]["auc"] - own[name]["auc"]) <= 1e-6 and "auc_ci" in models[name]
        }
        record["crossvalidation"] = {name: same.get(name, own[name]) for name in own}


def check_informative(choice: Choice) -> None:
    """Raise `ExportError` unless the model is above chance out of fold, see `warnings_of`."""
    if found := warnings_of(choice.record):
        raise ExportError(
            Fault(
                f"the {choice.record['title']} in '{choice.folder}'",
                "; ".join(found),
                "a model whose out-of-fold AUC, corrected for its choice, has an interval above "
                "0.5, and p < 0.05 where labels were permuted often enough",
                "more people, or another contrast; allow_uninformative=true exports it marked, in "
                "its card and with each prediction",
            )
        )


def unfinished(folder: Path, error: Exception) -> RunError:
    """Say that a final model lacks a part."""
    accepted = f"a finished run's folder '{folder.name}'"
    action = "correct run_dir, or give the command of the run once more"
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
        if record.get("title", EARLIER_TITLE) == EARLIER_TITLE:
            record["title"] = _title_of_built(folder, record["n_epochs"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise unfinished(folder, error) from error
    if NETWORK in record.get("crossvalidation", {}):
        return record
    parts = ("model", "chosen_among", "crossvalidation", "titles")
    record |= {name: rename_network(record[name]) for name in parts if name in record}
    if record.get("titles", {}).get(NETWORK) == EARLIER_TITLE:
        record["titles"][NETWORK] = record["title"] if record["model"] == NETWORK else NETWORK
    return record


def _title_of_built(folder: Path, n_epochs: int) -> str:
    """Name the final network of an earlier version, which called them all the same."""
    built = json.loads((folder / "network.json").read_text("utf-8"))
    return network_title(built["builder"], built["settings"], [n_epochs])


def _candidate(record: dict[str, Any]) -> Candidate:
    return Candidate(record["title"], float(record["crossvalidation"][record["model"]]["auc"]))


def _no_linear_model(run_dir: Path) -> Fault:
    return Fault(
        "model",
        f"linear, and no final linear model in '{run_dir}'",
        "auto or network; linear where linear_svm, logistic_ridge or shrinkage_lda is among the "
        "run's baselines",
        "train with baselines=default; a run that has one of them makes up for its final model "
        "when its command is given once more with resume=true",
    )
