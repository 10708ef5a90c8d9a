"""What was done, for the methods section of a paper, filled in from the run."""

from collections.abc import Mapping
from typing import Any

from fmnet.crossval.fold_loop import NETWORK
from fmnet.data.cohort import Cohort
from fmnet.earlier import current_paths
from fmnet.inference.model_card import linear_sentence, percent
from fmnet.inference.preparation import SERIES
from fmnet.report.run_methods import reading_sentences, runs_sentences
from fmnet.report.run_words import input_line
from fmnet.report.words import is_corrected, name_of

AUTHORS = "to be written by the authors"


#: Paths of the default network, for people.
PATHS = {
    "focal": "weights of single voxels",
    "distributed": "weights all over the brain",
    "contrast_products": "products of two maps at one voxel",
    "voxel_pairs": "products of two voxels",
}


def methods_paragraphs(
    cohort: Cohort, metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """Describe the analysis: the data, the models, and how they were judged.

    Parameters
    ----------
    cohort : Cohort
        Who was in the study.
    metrics : dict
        What ``metrics.json`` holds; ``bold`` of BOLD cohorts.
    settings : dict
        What ``config.yaml`` holds; parts that it lacks are left out of the text.
    """
    others = [name_of(name) for name in metrics["models"] if name != NETWORK]
    own_splits = {"frem", "space_net"} & set(metrics["models"])
    data = [_people_sentence(cohort, metrics), *_input_sentences(cohort, metrics, settings)]
    models = [_network_sentence(settings, metrics)]
    if others:
        models.append(f"In the same folds stood: {', '.join(others)}.")
    models.append(
        "Everything that is learned, standardisation, smoothing width, penalties, length of "
        "training and calibration, was learned on training subjects, every choice on inner folds"
        + (" (by FREM and SpaceNet on splits of their own)." if own_splits else ".")
    )
    judged = [
        _folds_sentence(settings.get("folds", {})),
        "Areas under the ROC curve (AUC) compare scans within test folds; their 95 % intervals are "
        "made on the logit scale and allow for other test subjects (Aronow et al. 2015) and other "
        "training subjects, those of other figures are percentiles of a bootstrap over subjects.",
    ]
    if "permutation" in metrics:
        judged.append(
            f"The null distribution comes from {metrics['permutation']['n']} permutations of the "
            "labels (within site and family; of people with scans of both groups, within the "
            "person) through the whole pipeline; p = (b + 1) / (m + 1)."
        )
    judged += _choice_sentences(metrics)
    return [" ".join(sentences) for sentences in (data, models, judged)]


def _choice_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Say how it is allowed for that the final model is the best of several."""
    if not is_corrected(metrics):
        return []
    exported = metrics["exported"]
    among = ", ".join(name_of(name, metrics.get("titles")) for name in exported["among"])
    said = (
        f"The model to be used was the one with the largest AUC among {among}; that AUC was "
        "corrected for the choice by the bootstrap (BBC-CV; Tsamardinos et al. 2018)"
    )
    if "p" in exported:
        said += ", and tested against the largest AUC of these models in each permutation"
    return [f"{said}."]


def _folds_sentence(folds: Mapping[str, Any]) -> str:
    builder = str(folds.get("_target_", ""))
    if "n_splits" in folds:
        n = folds["n_repeats"]
        repeated = "once" if n == 1 else f"repeated {n} times"
        return (
            f"Models were assessed by {folds['n_splits']}-fold cross-validation, {repeated}, split "
            "by subject and stratified by group and site."
        )
    if "build_site_folds" in builder:
        return "Each site was tested by models that learned from all other sites."
    return "Models were assessed in folds by subject that were given beforehand (folds.tsv)."


def _people_sentence(cohort: Cohort, metrics: Mapping[str, Any]) -> str:
    labels = cohort.listing.labels
    return (
        f"{metrics['n_scans']} scans of {metrics['n_subjects']} people "
        f"({metrics['n_positive']} {labels.positive}, "
        f"{metrics['n_scans'] - metrics['n_positive']} {labels.negative}) were analysed."
    )


def _input_sentences(
    cohort: Cohort, metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    edge, fwhm_mm = cohort.grid.voxel_size_mm[0], settings.get("preparation", {}).get("fwhm_mm")
    if bold := metrics.get("bold"):
        smoothing = f"smoothed by {fwhm_mm:g} mm and " if fwhm_mm else ""
        return [
            *runs_sentences(bold, edge),
            *reading_sentences(bold, settings, metrics, smoothing),
        ]
    listing = cohort.listing
    smoothing = f", smoothed by {fwhm_mm:g} mm" if fwhm_mm else ""
    stat = "" if listing.stat == "n/a" else f"; statistic {listing.stat}"
    return [
        f"Maps ({', '.join(listing.contrasts)}{stat}) were resampled to a {edge:g} mm MNI152 grid, "
        f"masked{smoothing} and standardised by voxel on the training subjects."
    ]


def _network_sentence(settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    network, task = settings.get("network", {}), settings.get("task", {})
    builder = str(network.get("_target_", "")).rsplit(".", 1)[-1].removeprefix("build_")
    kind = str(network.get("backbone", builder)).replace("_", " ") or "3D convolutional"
    kind = str(network["name"]) if builder == "monai" else kind
    has_stem = "backbone" in network
    name = f"3D network ({kind}){' behind the stem' if has_stem else ''}"
    epochs = metrics["n_epochs"]
    few, many = min(epochs), max(epochs)
    if many == 0 and kind != "scale space" and not metrics.get("path_shares"):
        return f"A {name} was used with the weights that it starts from: no gradient step followed."
    if many == 0:
        return (
            f"A {name} got its weights from the training scans in closed form: "
            "filters of several widths, weights by the evidence for a difference between groups, "
            "and a share for each of its paths by what it reached on training people left out "
            f"meanwhile. No gradient step followed.{_paths_sentence(metrics)}"
        )
    how = (
        f" with AdamW (learning rate {task['learning_rate']:g}, weight decay "
        f"{task['weight_decay']:g}, batches of {task['batch_size']})"
        if "learning_rate" in task
        else ""
    )
    chosen = f"{few}" if few == many else f"between {few} and {many}"
    return (
        f"A {name} was trained{' together with it' if has_stem else ''}{how} for a number of "
        f"epochs chosen on inner folds ({chosen})."
    )


def _paths_sentence(metrics: Mapping[str, Any]) -> str:
    """Say how much of the score is a linear map, where the network has paths."""
    shares = current_paths(metrics.get("path_shares", {}))
    if not shares:
        return ""
    said = ", ".join(f"{PATHS[name]} {percent(share)}" for name, share in shares.items())
    is_series = metrics.get("bold", {}).get("reads") == SERIES
    linear = linear_sentence({"path_shares": shares}, is_series)
    linear = linear.replace("final model's", "final network's")
    return f" In the final network: {said}. {linear}"


def tripod_rows(cohort: Cohort, metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Fill in the TRIPOD+AI checklist as far as a run can know it.

    Returns
    -------
    list of tuple
        Item, what it asks for, and what the run says or who has to write it.

    References
    ----------
    Collins et al. (2024). TRIPOD+AI statement. BMJ, 385, e078378.
    """
    table = cohort.table()
    n_out = table[table["used"] == "no"]["participant_id"].nunique()
    left_out = f"{n_out} people left out, see “Left out”" if n_out else "nobody left out"
    labels = cohort.listing.labels
    n_negative = metrics["n_scans"] - metrics["n_positive"]
    models = ", ".join(name_of(name, metrics.get("titles")) for name in metrics["models"])
    return [
        ("1-4", "title, abstract, background, objectives", AUTHORS),
        ("5", "source and dates of the data", AUTHORS),
        ("6", "setting, eligibility, treatments", AUTHORS),
        ("7", "data preparation", "“Methods”; config.yaml"),
        ("8", "outcome", f"column “{labels.column}”: {labels.positive} against {labels.negative}"),
        ("9", "predictors", _predictors(cohort, metrics)),
        ("10", "sample size", f"{metrics['n_subjects']} people; see “What this n can show”"),
        ("11", "missing data", f"{left_out}; voxels by their mean"),
        ("12", "analytical methods", "“Methods”; folds.tsv"),
        ("13", "class imbalance", "loss and linear models weighted by class"),
        ("14", "fairness", "confound audit; groups beyond it: " + AUTHORS),
        (
            "15",
            "model output",
            "score; probability at a base rate of 50 %, calibrated on inner folds",
        ),
        ("16", "differences between development and evaluation", _evaluation(cohort)),
        ("17", "ethical approval", AUTHORS),
        ("18", "funding, conflicts, protocol, registration", AUTHORS),
        ("18e-f", "sharing of data and code", "manifest.json: versions, hashes, commit"),
        ("19", "patient and public involvement", AUTHORS),
        ("20", "participants", "cohort.tsv; balance table"),
        (
            "21",
            "numbers in each analysis",
            f"{metrics['n_positive']} {labels.positive}, {n_negative} {labels.negative} scans",
        ),
        ("22", "full model", "model/, model_linear/; scripts/export.py writes the bundle"),
        ("23", "performance", f"table above, each with its interval: {models}"),
        ("24", "updating", "none"),
        ("25-27", "interpretation, limitations, usability", AUTHORS),
    ]


def _predictors(cohort: Cohort, metrics: Mapping[str, Any]) -> str:
    if bold := metrics.get("bold"):
        return input_line(bold)
    return f"brain maps: {', '.join(cohort.listing.contrasts)}"


def _evaluation(cohort: Cohort) -> str:
    if cohort.set_aside:
        return f"lock-box of {len(cohort.set_aside)} scans, apart from all that is shown here"
    return "cross-validation in one cohort; no external evaluation"
