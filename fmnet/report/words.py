"""Names and sentences that terminal and page share."""

from collections.abc import Collection, Iterable, Mapping
from textwrap import wrap
from typing import Any

from fmnet.crossval.fold_loop import NETWORK
from fmnet.data.listing import Listing
from fmnet.inference.study_results import say_p
from fmnet.networks.backbones import NetworkBuilder
from fmnet.networks.rebuild import describe_builder
from fmnet.report.run_words import runs_line
from fmnet.runs.final_models import network_title

#: Of lines on the terminal.
WIDTH = 100
NAMES = {
    "dummy": "dummy",
    "linear_svm": "linear SVM",
    "logistic_ridge": "logistic ridge",
    "shrinkage_lda": "shrinkage LDA",
    "frem": "FREM",
    "space_net": "SpaceNet",
    "covariates": "covariates only",
    "motion": "motion only",
    "questionnaires": "questionnaires only",
    "file_grid": "file grid only",
    "coverage": "coverage only",
    "scale": "image scale only",
    "roughness": "roughness only",
    "temporal_snr": "temporal SNR only",
    "connectivity_tangent": "tangent connectivity",
    "connectivity_correlation": "correlation connectivity",
    "connectivity_partial": "partial-correlation connectivity",
}
#: What has to be said first about maps that are not just as they were measured.
BANNERS = {
    "synthetic": "SYNTHETIC DATA, nobody was scanned.",
    "injected": "PLANTED EFFECT: known differences were added to real maps.",
}
#: What has to be said first about settings under which nothing is to be found.
SHUFFLED = "NEGATIVE CONTROL: labels were shuffled before anything else."
ELSEWHERE = "NEGATIVE CONTROL: only voxels outside of the grey matter were looked at."
NO_EFFECT = "NEGATIVE CONTROL: no effect was planted."
MOTION_ALONE = "NEGATIVE CONTROL: the groups were made to differ in nothing but head motion."


def banners(listing: Listing, settings: Mapping[str, Any]) -> list[str]:
    """List what a reader has to know before any figure."""
    found = [BANNERS[listing.origin]] if listing.origin else []
    return [*found, said] if (said := control(settings)) else found


def control(settings: Mapping[str, Any]) -> str:
    """Say what makes a run a negative control; empty for a study."""
    if settings.get("shuffle_labels"):
        return SHUFFLED
    if settings.get("preparation", {}).get("mask") in {"non_grey", "background"}:
        return ELSEWHERE
    cohort = settings.get("cohort", {})
    # synthetic runs have two effects, of which rest has one
    is_null = 0 == cohort.get("coupling") == cohort.get("task_effect")
    if is_null and cohort.get("motion_effect"):
        return MOTION_ALONE
    return NO_EFFECT if is_null or 0 in (cohort.get("effect_size"), cohort.get("amplitude")) else ""


def name_of(model: str, titles: Mapping[str, str] | None = None) -> str:
    """Name a model for people; `titles`, see `titles_of`, know what network it is."""
    return (titles or {}).get(model) or NAMES.get(model, model.replace("_", " "))


def titles_of(
    models: Iterable[str], build: NetworkBuilder, n_epochs: Collection[int]
) -> dict[str, str]:
    """Name all models of a study for people, the network by what it is and how it was trained."""
    described = describe_builder(build, ())
    network = network_title(described.builder, described.settings, n_epochs)
    return {name: network if name == NETWORK else name_of(name) for name in models}


def with_interval(figures: Mapping[str, Any], metric: str, digits: int = 2) -> str:
    """Write a figure with its interval: ``0.71 [0.59, 0.82]``."""
    value, interval = figures[metric], figures.get(f"{metric}_ci")
    if value is None:
        return "-"
    if interval is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def is_corrected(metrics: Mapping[str, Any]) -> bool:
    """Tell whether the exported model was chosen among several, and its AUC corrected for that."""
    exported = metrics.get("exported", {})
    return "auc_corrected" in exported and len(exported["among"]) > 1


def summary_lines(
    metrics: Mapping[str, Any], listing: Listing, settings: Mapping[str, Any]
) -> list[str]:
    """Say the results in a few lines: verdict, what speaks against it, then each model."""
    labels = listing.labels
    head = (
        f"{labels.positive} against {labels.negative}: {metrics['n_scans']} scans of "
        f"{metrics['n_subjects']} people, {metrics['n_positive']} {labels.positive}"
    )
    grave = [one["text"] for one in metrics["findings"] if one["severity"] == "red"]
    return [
        " ".join([*banners(listing, settings), head]),
        *_runs_lines(metrics),
        "",
        *_wrap(metrics["verdict"]),
        *(line for text in grave for line in _wrap(f"! {text}", hanging="  ")),
        "",
        f"Out of fold, 95 % intervals over subjects{_p_words(metrics)}:",
        *model_lines(metrics),
        *_rerun_lines(metrics),
        *_curve_lines(metrics),
        "",
    ]


def _runs_lines(metrics: Mapping[str, Any]) -> list[str]:
    return _wrap(runs_line(metrics["bold"])) if "bold" in metrics else []


def model_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what each model reached, one line each, with its p-value where there is one."""
    titles = {name: name_of(name, metrics["titles"]) for name in metrics["models"]}
    width = max(map(len, titles.values()))
    lines = []
    for name, figures in metrics["models"].items():
        lines.append(
            f"  {titles[name]:<{width}}  AUC {with_interval(figures, 'auc')}   "
            f"balanced accuracy {figures['balanced_accuracy']:.2f}{_p_value(metrics, name)}"
        )
        exported = metrics.get("exported", {})
        if name == exported.get("model") and is_corrected(metrics):
            p = f"   {say_p(exported['p'])}" if "p" in exported else ""
            corrected = with_interval(exported, "auc_corrected")
            lines.append(f"  {'':<{width}}  AUC {corrected}   corrected for its choice{p}")
    return lines


def _p_words(metrics: Mapping[str, Any]) -> str:
    """Say what the p-values of single models are."""
    if "permutation" not in metrics:
        return ""
    return "; p of each model as if it alone had been planned"


def _rerun_lines(metrics: Mapping[str, Any]) -> list[str]:
    reruns = metrics["sensitivity"].values()
    if not reruns:
        return []
    lines = [f"The {name_of(NETWORK, metrics['titles'])} with one thing changed:"]
    for rerun in reruns:
        if rerun["lacking"]:
            lacking = f"{rerun['title']}: not run; needs {rerun['lacking']}"
            lines += _wrap(lacking, "  ", "    ")
        else:
            figure = with_interval(rerun["models"][NETWORK], "auc")
            lines.append(f"  {rerun['title']} ({rerun['n_subjects']} people): AUC {figure}")
    return lines


def _curve_lines(metrics: Mapping[str, Any]) -> list[str]:
    lines = metrics.get("learning_curve", {}).get("lines", [])
    wrapped = [part for line in lines for part in _wrap(line, "  ", "    ")]
    return ["How many people would be enough:", *wrapped] if wrapped else []


def _p_value(metrics: Mapping[str, Any], model: str) -> str:
    found = metrics.get("permutation", {}).get("models", {}).get(model)
    return f"   {say_p(found['p'])}" if found else ""


def _wrap(text: str, indent: str = "", hanging: str = "") -> list[str]:
    return wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
