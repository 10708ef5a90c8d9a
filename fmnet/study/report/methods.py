"""What was done, for the methods section of a paper, filled in from the run."""

from collections.abc import Mapping
from typing import Any

from fmnet.data.cohort import Cohort
from fmnet.study.report.words import name_of

AUTHORS = "to be written by the authors"


#: Paths of the default network, for people.
PATHS = {
    "places": "weights of single places",
    "whole": "weights all over the brain",
    "channels": "products of contrasts at one place",
    "pairs": "products of two places",
}


def methods_paragraph(
    cohort: Cohort, metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    """Describe the analysis in one paragraph.

    Parameters
    ----------
    cohort : Cohort
        Who was in the study.
    metrics : dict
        What ``metrics.json`` holds.
    settings : dict
        What ``config.yaml`` holds; parts that it lacks are left out of the text.
    """
    preparation, folds = settings.get("preparation", {}), settings.get("folds", {})
    others = [name_of(name) for name in metrics["models"] if name != "cnn"]
    own_splits = {"frem", "space_net"} & set(metrics["models"])
    sentences = [_input_sentence(cohort, metrics, preparation)]
    sentences.append(_folds_sentence(folds))
    sentences.append(_network_sentence(settings, metrics))
    if others:
        sentences.append(f"In the same folds stood: {', '.join(others)}.")
    sentences.append(
        "Everything that is learned, standardisation, smoothing width, penalties, length of "
        "training and calibration, was learned on training subjects, every choice on inner folds"
        + (" (by FREM and SpaceNet on splits of their own). " if own_splits else ". ")
        + "Areas under the ROC curve (AUC) compare scans within test folds; intervals are 95 % "
        "percentile bootstrap intervals over subjects."
    )
    if "permutation" in metrics:
        sentences.append(
            f"The null distribution comes from {metrics['permutation']['n']} permutations of the "
            "labels (within site and family; of people with scans of both groups, within the "
            "person) through the whole pipeline; p = (b + 1) / (m + 1)."
        )
    return " ".join(sentences)


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


def _input_sentence(
    cohort: Cohort, metrics: Mapping[str, Any], preparation: Mapping[str, Any]
) -> str:
    labels, listing = cohort.listing.labels, cohort.listing
    edge = cohort.grid.voxel_size_mm[0]
    text = (
        f"{metrics['n_scans']} scans of {metrics['n_subjects']} people "
        f"({metrics['n_positive']} {labels.positive}, "
        f"{metrics['n_scans'] - metrics['n_positive']} {labels.negative}) were analysed. Maps "
        f"({', '.join(listing.contrasts)}; statistic {listing.stat}) were resampled to a "
        f"{edge:g} mm MNI152 grid, masked"
    )
    smoothing = f", smoothed by {preparation['fwhm_mm']:g} mm" if "fwhm_mm" in preparation else ""
    return f"{text}{smoothing} and standardised by voxel on the training subjects."


def _network_sentence(settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    builder = str(settings.get("network", {}).get("_target_", "")).rsplit(".", 1)[-1]
    kind = builder.removeprefix("build_").replace("_", " ") or "3D convolutional"
    epochs = metrics["n_epochs"]
    few, many = min(epochs), max(epochs)
    if many == 0:
        return (
            f"A 3D network ({kind}) got its weights from the training scans in closed form: "
            "filters of several widths, weights by the evidence for a difference between groups, "
            "and a share for each of its paths by what it reached on training people left out "
            f"meanwhile. No gradient step followed.{_paths_sentence(metrics)}"
        )
    task = settings.get("task", {})
    how = (
        f" with AdamW (learning rate {task['learning_rate']:g}, weight decay "
        f"{task['weight_decay']:g}, batches of {task['batch_size']})"
        if "learning_rate" in task
        else ""
    )
    chosen = f"{few}" if few == many else f"between {few} and {many}"
    return (
        f"A 3D network ({kind}) was trained{how} for a number of epochs chosen on inner folds "
        f"({chosen})."
    )


def _paths_sentence(metrics: Mapping[str, Any]) -> str:
    """Say how much of the score is a linear map, where the network has paths."""
    shares = metrics.get("path_shares", {})
    if not shares:
        return ""
    said = ", ".join(f"{PATHS[name]} {share:.0%}" for name, share in shares.items())
    linear = sum(shares.get(name, 0) for name in ("places", "whole"))
    return f" In the final model: {said}. {linear:.0%} of the score is a linear map."


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
    left_out = table[table["used"] == "no"]["participant_id"].nunique()
    labels = cohort.listing.labels
    n_negative = metrics["n_scans"] - metrics["n_positive"]
    models = ", ".join(name_of(name) for name in metrics["models"])
    return [
        ("1-4", "title, abstract, background, objectives", AUTHORS),
        ("5", "source and dates of the data", AUTHORS),
        ("6", "setting, eligibility, treatments", AUTHORS),
        ("7", "data preparation", "methods paragraph; config.yaml"),
        ("8", "outcome", f"column “{labels.column}”: {labels.positive} against {labels.negative}"),
        ("9", "predictors", f"brain maps: {', '.join(cohort.listing.contrasts)}"),
        ("10", "sample size", f"{metrics['n_subjects']} people; see “What this n can show”"),
        ("11", "missing data", f"{left_out} people left out, listed below; voxels by their mean"),
        ("12", "analytical methods", "methods paragraph; folds.tsv"),
        ("13", "class imbalance", "loss and linear models weighted by class"),
        ("14", "fairness", "confound audit; groups beyond it: " + AUTHORS),
        ("15", "model output", "score; probability calibrated on inner folds"),
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


def _evaluation(cohort: Cohort) -> str:
    if cohort.set_aside:
        return f"lock-box of {len(cohort.set_aside)} scans, apart from all that is shown here"
    return "cross-validation in one cohort; no external evaluation"
