"""The final models of a run: written, read, and which of them is exported."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fmnet.earlier import EARLIER_NETWORK, EARLIER_TITLE, rename_network
from fmnet.errors import ConfigError, ExportError, Fault, RunError
from fmnet.inference.bold_contract import write_contract
from fmnet.inference.bundle import write_plain
from fmnet.inference.bundle_files import TRAINING_SCANS, UNSEEN
from fmnet.inference.feature_gate import FeatureGate
from fmnet.inference.gates import fit_gates
from fmnet.inference.links import Link
from fmnet.inference.model_card import CNN_PATHS
from fmnet.inference.preparation import Preparation
from fmnet.inference.quality import fit_reference, temporal_sd
from fmnet.inference.run_gates import fit_run_gates
from fmnet.inference.study_results import correction, warnings_of
from fmnet.inference.training_scans import salt_hashes
from fmnet.inference.unseen_scores import UnseenScores, gather_unseen
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.closed_form import pretraining_of
from fmnet.networks.path_sums import path_fractions
from fmnet.networks.rebuild import NetworkDescription, write_network
from fmnet.runs.record import Results, bold_contract
from fmnet.runs.run_folder import as_json, write_run_folder
from fmnet.training.calibration import ScoreScale, fit_calibration
from fmnet.types import NETWORK, ModelKind

#: Where the final network and the final linear model lie in a run folder.
NETWORK_FOLDER, LINEAR_FOLDER = "model", "model_linear"
#: What is said of its training, in either folder.
RECORD = "training.json"
#: What is said by runs of before there were two final models.
NETWORK_ALONE = {"model": NETWORK, "chosen_among": [NETWORK]}
#: Networks that aren't called by the name of their builder.
TITLES = {
    "prior_cnn": "prior CNN", "small_cnn": "small CNN", "resnet": "ResNet", "densenet": "DenseNet",
}  # fmt: skip
#: The network whose weights come from the training scans in closed form, and the same with a
#: signature beside it that a pretrained CNN writes: by one of the model card's `CNN_PATHS`.
SCALE_SPACE, PRIOR_CNN = "scale_space", "prior_cnn"
#: What can be asked for; the last is the earlier name of the network.
ModelName = Literal["auto", "network", "linear", "cnn"]


@dataclass(frozen=True, eq=False)
class FinalModel:
    """A model fitted on all subjects, as a network.

    Parameters
    ----------
    name, title : str
        In the out-of-fold table, and in reports.
    network : ScoreNetwork
        In evaluation mode.
    description : NetworkDescription
        How it is built.
    preparation : Preparation
        Fitted on the same subjects.
    n_epochs : int or None
        Length of training; None for a linear model.
    chosen_among : tuple of str
        Names of the models of which it is the best by out-of-fold AUC, its own included.
    c : float or None
        Of a linear model's penalty.
    screen : float or None
        Fraction of the voxels that a linear model keeps.
    scale : ScoreScale or None
        Of the scores it gives to subjects it has not seen; None if they are on the scale of the
        models of the folds.
    link : Link or None
        What its scores mean, where they don't tell two groups apart.
    feature_gate : FeatureGate or None
        How far new scans may lie from those of the subjects; None where that isn't known.
    """

    name: str
    title: str
    network: ScoreNetwork
    description: NetworkDescription
    preparation: Preparation
    n_epochs: int | None
    chosen_among: tuple[str, ...]
    c: float | None = None
    screen: float | None = None
    scale: ScoreScale | None = None
    link: Link | None = None
    feature_gate: FeatureGate | None = None


def write_final(
    results: Results,
    models: dict[str, Any],
    titles: dict[str, str],
    final: FinalModel,
    seed: int,
    control: str,
    folder: Path,
) -> None:
    """Write a final model's folder: all that export needs besides the scans.

    Its calibration is fitted on its own out-of-fold scores; of targets other than two groups there
    are ``target.json`` and ``link.json`` in the place of ``calibration.json``. What is known of its
    training goes into ``training.json``: figures of all models in the same folds
    (``crossvalidation``), the numbers of subjects and scans, ``path_shares`` (what fraction of the
    score each path of the network was given), ``pretrained`` (which CNN wrote a part of the
    network, see `pretraining_of`; empty where none did), its setting if it is linear (``c``, the
    penalty; ``screen``, the fraction of voxels), and the scale of its scores of new people if that
    is known (``score_scale``).

    `models` and `titles` are of cross-validation; `control` says what makes the study a negative
    control, or is empty.
    """
    data, preparation = results.data, final.preparation
    cohort, listing = data.cohort, data.cohort.listing
    meaning: dict[str, Any] = {}
    predicted: dict[str, Any]
    if data.target is None:
        # Scores of one model at a time, as the exported one gives: a mean over repeats is surer.
        unseen = results.predictions[results.predictions["model"] == final.name]
        calibration = fit_calibration(
            unseen["score"],
            unseen["label"],
            participants=unseen["participant_id"],
            models=unseen.groupby(["repeat", "fold"]).ngroup(),
            scale=final.scale,
        )
        meaning["calibration.json"] = asdict(calibration)
        meaning[UNSEEN] = unseen_of(unseen, final.scale).to_json()
        predicted = {
            "label": listing.labels.column,
            "positive": listing.labels.positive,
            "negative": listing.labels.negative,
        }
    else:
        assert final.link is not None
        meaning["link.json"] = final.link.to_json()
        meaning["target.json"] = data.target.describe()
        predicted = {"target": data.target.describe()}
    values = data.values
    if preparation.reads_series:
        values = np.stack([temporal_sd(series.values()) for series in data.series])
    motion = [mean for stored in cohort.stored for mean in stored.mean_fd_mm]
    reference = fit_reference(values, preparation.contrasts, motion)
    families = cohort.unit_of
    people = [families[person] for person in cohort.participant_ids]
    gates = fit_gates(values, preparation.grid, preparation.contrasts, people)
    volumes = [stored.series.n_volumes for stored in cohort.stored if stored.series is not None]
    if volumes:
        of_runs = fit_run_gates(volumes, [stored.mean_fd_mm for stored in cohort.stored], people)
        gates = replace(gates, runs=of_runs)
    gates = replace(gates, features=final.feature_gate)
    # of BOLD the files of runs are among the values, and masks among the files
    known = (
        one.values_sha256 + (one.source_sha256 if one.series is None else ())
        for one in cohort.stored
    )
    meaning[TRAINING_SCANS] = salt_hashes(digest for own in known for digest in own).to_json()
    contract = bold_contract(cohort)
    if contract is not None and preparation.reads_series:
        contract = replace(contract, maps=())  # the network reads the series themselves
    record = {
        "model": final.name,
        "title": final.title,
        "chosen_among": final.chosen_among,
        **predicted,
        "contrasts": preparation.contrasts,
        "stat": listing.stat,
        "space": cohort.scans[0].space,
        "origin": listing.origin,
        "n_scans": len(cohort.scans),
        "n_subjects": len(set(cohort.participant_ids)),
        "n_epochs": final.n_epochs,
        "c": final.c,
        "seed": seed,
        "crossvalidation": models,
        "control": control,
        "path_shares": path_fractions(final.network),
        "pretrained": pretraining_of(final.network),
        "titles": titles,
        "screen": final.screen,
        "score_scale": None if final.scale is None else asdict(final.scale),
    }

    def write(draft: Path) -> None:
        write_network(final.network, final.description, draft)
        preparation.write(draft)
        for name, content in meaning.items():
            (draft / name).write_text(as_json(content), "utf-8")
        write_plain(reference, draft / "reference.json")
        gates.write(draft)
        if contract is not None:
            write_contract(contract, draft)
        (draft / RECORD).write_text(as_json(record), "utf-8")

    write_run_folder(folder.parent, folder.name, write)


def unseen_of(predictions: pd.DataFrame, scale: ScoreScale | None = None) -> UnseenScores:
    """Gather one score of each person from one model's rows of the out-of-fold table.

    `scale` is of the final model's scores of new people, where they have another.
    """
    models = predictions.groupby(["repeat", "fold"]).ngroup()
    score, label, whose = (predictions[name] for name in ("score", "label", "participant_id"))
    known = None if scale is None else (scale.middle, scale.sd)
    return gather_unseen(score, label, whose, models, known)


def unfinished(folder: Path, error: Exception) -> RunError:
    """Say that a file of a final model is missing or damaged."""
    accepted = f"a finished run's folder '{folder.name}'"
    action = "correct run_dir, or give the command of the run once more"
    return RunError(Fault(str(folder), str(error), accepted, action))


def read_record(folder: Path) -> dict[str, Any]:
    """Read what `write_final`, perhaps of an earlier version, says of the training of a model.

    Raises
    ------
    RunError
        If it is missing or can't be read.
    """
    try:
        record: dict[str, Any] = NETWORK_ALONE | json.loads((folder / RECORD).read_text("utf-8"))
        if record.get("title", EARLIER_TITLE) == EARLIER_TITLE:
            built = json.loads((folder / "network.json").read_text("utf-8"))
            epochs = [record["n_epochs"]]
            record["title"] = network_title(built["builder"], built["settings"], epochs)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise unfinished(folder, error) from error
    if NETWORK in record.get("crossvalidation", {}):
        return record
    keys = ("model", "chosen_among", "crossvalidation", "titles")
    record |= {key: rename_network(record[key]) for key in keys if key in record}
    if record.get("titles", {}).get(NETWORK) == EARLIER_TITLE:
        record["titles"][NETWORK] = record["title"] if record["model"] == NETWORK else NETWORK
    return record


def scorer_of(builder: str, settings: Mapping[str, Any]) -> str:
    """Name what gives the score: the network, or the backbone behind a stem for time series.

    A scale space with a path that a pretrained CNN writes is ``prior_cnn``, by whichever name it
    was asked for. See `network_title`.
    """
    module, _, function = builder.rpartition(".")
    kind = function.removeprefix("build_")
    if kind == "monai":
        return str(settings.get("name", "resnet10"))
    if module == "fmnet.networks.series":
        usual = "small_cnn" if kind == "frames" else SCALE_SPACE
        kind = str(settings.get("backbone", usual))
    if kind not in {SCALE_SPACE, PRIOR_CNN}:
        return kind
    paths = settings.get("paths", CNN_PATHS if kind == PRIOR_CNN else ())
    return SCALE_SPACE if set(CNN_PATHS).isdisjoint(paths) else PRIOR_CNN


def network_kind(builder: str, settings: Mapping[str, Any], epochs: Collection[int]) -> ModelKind:
    """Say how a network gets its weights; for the arguments see `network_title`."""
    if any(epochs):
        return "gradient"
    return "pretrained" if scorer_of(builder, settings) == PRIOR_CNN else "closed form"


def network_title(builder: str, settings: Mapping[str, Any], epochs: Collection[int]) -> str:
    """Name a network in reports: what it is, and whether gradients had a part in it.

    `builder` is the dotted name of what builds it, called with `settings`, of which ``backbone``
    names what follows a stem; `epochs` are the lengths of training chosen, one for each training.
    """
    module, _, function = builder.rpartition(".")
    last = scorer_of(builder, settings)

    def spoken(kind: str) -> str:
        return TITLES.get(kind, kind.replace("_", " "))

    name = spoken(module.rpartition(".")[2] if last == "build" else last)
    if module == "fmnet.networks.series":
        stem = spoken(function.removeprefix("build_"))
        name = stem if last == SCALE_SPACE else f"{stem} + {name}"
    # other networks have nothing but the weights that they start from
    fitted = {SCALE_SPACE: "closed form", PRIOR_CNN: "pretrained"}.get(last, "")
    if not any(epochs):
        return f"{name} ({fitted or 'no gradient step'})"
    if last == PRIOR_CNN:
        return f"{name} ({fitted}, fine-tuned)"
    return f"{name} (fine-tuned)" if fitted else name


def choose(network: tuple[str, float], linear: tuple[str, float] | None) -> tuple[str, str]:
    """Choose the final model with the larger AUC, of equals the linear one, the simpler of the two.

    Each has a title and its out-of-fold AUC; there may be no linear one. The text says why it is
    this one, for the end of a sentence.
    """
    if linear is None:
        return NETWORK, "there is no linear model to choose instead"
    if linear[1] == network[1]:
        return "linear", (
            f"its out-of-fold AUC, {linear[1]:.3f}, is that of the {network[0]} as well, and "
            "it is the simpler of the two"
        )
    (_, larger), (other, smaller) = sorted((linear, network), key=lambda one: -one[1])
    return "linear" if linear[1] > network[1] else NETWORK, (
        f"its out-of-fold AUC, {larger:.3f}, is larger than that of the {other}, {smaller:.3f}"
    )


@dataclass(frozen=True)
class Choice:
    """The final model of a run that is exported.

    `record` is that of its training, see `write_final`, and under ``chosen`` of the choice, see
    `read_chosen`; it was `asked` for as ``auto``, ``network`` or ``linear``; `why` is for the end
    of a sentence; it is the best of `n_models` by out-of-fold AUC.
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
    if asked == EARLIER_NETWORK:
        asked = "network"
    if not run_dir.is_dir():
        found = "no folder, but a file" if run_dir.exists() else "no such folder"
        accepted, action = "a run folder, which fmnet train prints last", "correct run_dir"
        raise RunError(Fault(str(run_dir), found, accepted, action))
    folders = {NETWORK: run_dir / NETWORK_FOLDER, "linear": run_dir / LINEAR_FOLDER}
    if not (folders["linear"] / RECORD).exists():
        if asked == "linear":
            raise ConfigError(
                Fault(
                    "model",
                    f"linear, and no final linear model in '{run_dir}'",
                    "auto or network; linear where linear_svm, logistic_ridge or shrinkage_lda is "
                    "among the run's baselines",
                    "train with baselines=default; a run that has one of them makes up for its "
                    "final model when its command is given once more with resume=true",
                )
            )
        del folders["linear"]
    if asked != "auto":
        folders = {asked: folders[asked]}
    records = {name: read_record(folder) for name, folder in folders.items()}
    if asked == "auto" and "target" in records[NETWORK]:
        name, why = NETWORK, "it is what a study of a target exports"
    elif asked == "auto":
        finals = {
            name: (one["title"], float(one["crossvalidation"][one["model"]]["auc"]))
            for name, one in records.items()
        }
        name, why = choose(finals[NETWORK], finals.get("linear"))
    else:
        name, why = asked, f"model={asked} was asked for"
    record = records[name]
    if "target" in record:
        record["tested"] = read_tested(run_dir, record["model"])
        return Choice(folders[name], record, asked, why, 1)
    record["chosen"] = read_chosen(run_dir, asked, record["model"])
    # figures of a run that a later version went on with, which has other intervals
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        own = record["crossvalidation"]
        models = rename_network(json.loads((run_dir / "metrics.json").read_text("utf-8"))["models"])
        same = {
            name: models[name]
            for name in own.keys() & models.keys()
            if abs(models[name]["auc"] - own[name]["auc"]) <= 1e-6 and "auc_ci" in models[name]
        }
        record["crossvalidation"] = {name: same.get(name, own[name]) for name in own}
    n_models = sum(len(one["chosen_among"]) for one in records.values())
    return Choice(folders[name], record, asked, why, n_models)


def read_chosen(run_dir: Path, asked: ModelName, model: str) -> dict[str, Any]:
    """Read what the AUC of the model that is exported is worth after the choice among models.

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


def read_tested(run_dir: Path, model: str) -> dict[str, Any]:
    """Read ``p`` and ``n`` of the permutation test of a model with a target; empty if untested."""
    try:
        metrics = json.loads((run_dir / "metrics.json").read_text("utf-8"))
        tested = metrics["permutation"]
        return {"p": float(tested["models"][model]["p"]), "n": int(tested["n"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def check_informative(choice: Choice) -> None:
    """Raise `ExportError` unless the model is above chance out of fold, see `warnings_of`."""
    found, target = warnings_of(choice.record), choice.record.get("target")
    if found and target is not None:
        primary = target["primary"]
        raise ExportError(
            Fault(
                f"the {choice.record['title']} in '{choice.folder}'",
                "; ".join(found),
                f"a model whose {primary['title']} out of fold has an interval above "
                f"{primary['chance']:g}, and p < 0.05 where outcomes were permuted often enough",
                "more people, or another contrast; allow_uninformative=true exports it marked, in "
                "its card and with each prediction",
            )
        )
    if found:
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
