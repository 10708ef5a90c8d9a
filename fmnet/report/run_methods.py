"""BOLD runs in the methods section: how they were cleaned, and what was read of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnet.bold.confounds import CleaningSettings
from fmnet.evaluation.verdict import CONNECTIVITY, LINEAR
from fmnet.inference.bold_contract import cleaning_words
from fmnet.inference.preparation import SERIES
from fmnet.report.run_words import count, map_words, motion_words

#: Stems by the last part of what builds them, and what their maps are.
STEMS = {
    "build_learned_seeds": (
        "{n_seeds} seeds, each a weight for every voxel, give Fisher's z of the correlation of "
        "each voxel with the seed. The seeds {are} networks that group ICA found in the training "
        "scans without their labels"
    ),
    "build_temporal_filters": (
        "{n_filters} filters along time, of {length} volumes, give the logarithm of the power that "
        "each leaves of a voxel's series. The filters {lie} side by side over the band in which "
        "the training scans fluctuate"
    ),
    "build_dual_regression": (
        "dual regression gives each scan's own form of {n_networks} networks that group ICA found "
        "in the training scans without their labels"
    ),
    "build_frames": (
        "{n_frames} single volumes, evenly spread, each scored by itself; scores were averaged"
    ),
}
#: What gradient steps do to them.
TRAINED = {"are": "started from", "lie": "started"}
UNTRAINED = {"are": "are", "lie": "lie"}


def runs_sentences(bold: Mapping[str, Any], voxel_size_mm: float) -> list[str]:
    """Say what runs there were and what was done to them before anything was learned."""
    both = bold["all"]
    task = f" of task {bold['task']}" if bold["task"] else ""
    several = " Runs of one session make one scan." if both["n_runs"] > both["n_scans"] else ""
    return [
        f"They are {count(both['n_runs'], 'preprocessed BOLD run')}{task} in {bold['space']} "
        f"space, repetition time {bold['t_r']:g} s.{several} Each run was put on a "
        f"{voxel_size_mm:g} mm MNI152 grid, masked, "
        f"{cleaning_words(CleaningSettings(**bold['cleaning']))}, and turned into percent of each "
        "voxel's mean; volumes that fMRIPrep marks as non-steady were left out.",
        _left_sentence(both),
        *([f"Mean framewise displacement was {said}."] if (said := motion_words(bold)) else []),
    ]


def reading_sentences(
    bold: Mapping[str, Any],
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    smoothing: str,
) -> list[str]:
    """Say what the network and its baselines read of the cleaned runs.

    Parameters
    ----------
    bold : dict
        From `fmnet.report.runs.describe_runs`.
    settings : dict
        What ``config.yaml`` holds.
    metrics : dict
        What ``metrics.json`` holds: ``models`` and ``n_epochs``.
    smoothing : str
        What was done to maps before they were standardised, for the middle of a sentence.
    """
    prepared = f"{smoothing}standardised by voxel on the training subjects"
    maps = f"maps of the runs ({map_words(bold['maps'])}), {prepared}"
    is_linear = any(name in LINEAR for name in metrics["models"])
    if bold["reads"] == SERIES:
        own = [_series_sentence(bold, settings, is_trained=max(metrics["n_epochs"]) > 0)]
        own += [f"The linear models on voxels read {maps}."] if is_linear else []
    else:
        own = [
            f"Network and linear models read {maps}." if is_linear else f"The network read {maps}."
        ]
    if any(name in CONNECTIVITY for name in metrics["models"]):
        own.append("Connectivity models read time courses of the cleaned series.")
    return [*own, *_contrast_sentence(bold["maps"])]


def _series_sentence(bold: Mapping[str, Any], settings: Mapping[str, Any], is_trained: bool) -> str:
    window = bold["window_volumes"]
    how = (
        f"in windows of {window} volumes, over which scores were averaged"
        if window
        else "all volumes of a scan at once"
    )
    return (
        f"The network read the cleaned series themselves, {how}, through a stem that turns them "
        f"into maps: {_stem_words(settings, is_trained)}. These maps were standardised by voxel on "
        "the training subjects."
    )


def _stem_words(settings: Mapping[str, Any], is_trained: bool) -> str:
    network = settings.get("network", {})
    builder = str(network.get("_target_", "")).rsplit(".", 1)[-1]
    try:
        return STEMS[builder].format(**network, **(TRAINED if is_trained else UNTRAINED))
    except KeyError:
        return builder.removeprefix("build_").replace("_", " ") or "see config.yaml"


def _contrast_sentence(maps: Sequence[str]) -> list[str]:
    if not any(name.startswith("contrast:") for name in maps):
        return []
    return [
        "Contrasts come from a general linear model of each run before any filter (nilearn; "
        "canonical response, cosine drift of 128 s, AR(1) noise, the same confounds), combined "
        "over the runs of a scan by fixed effects."
    ]


def _left_sentence(both: Mapping[str, Any]) -> str:
    if both["volumes"] is None:
        return "How many volumes were left is not known."
    middle, low, high = both["volumes"]
    if low == high:
        left = f"{middle:g} volumes were left of each scan"
    else:
        left = f"Of a scan {middle:g} volumes were left (median; {low:g} to {high:g})"
    scrubbed = both["share_scrubbed"]
    if not scrubbed or scrubbed[2] == 0:
        return f"{left}."
    return f"{left}; scrubbing took {scrubbed[0]:.0%} (median), at most {scrubbed[2]:.0%}."
