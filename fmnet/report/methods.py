"""Write what was done, for the methods section of a paper, from the record of a run."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fmnet.bold.scan_maps import KEPT, MOTION, SCRUBBED
from fmnet.bold.settings import CleaningSettings
from fmnet.data.cohort import Cohort
from fmnet.data.scans import StoredScan
from fmnet.earlier import current_paths
from fmnet.evaluation.conclusions import is_corrected
from fmnet.inference.bold_contract import cleaning_words
from fmnet.inference.model_card import (
    adaptation_words,
    kind_of_path,
    linear_sentence,
    percent,
    pretraining_words,
)
from fmnet.inference.preparation import MAPS, SERIES
from fmnet.report.sentences import count, name_of

#: Item of TRIPOD+AI, what it asks for, and what is said.
TripodItem = tuple[str, str, str]
AUTHORS = "to be written by the authors"
#: Paths of the default network, in words.
PATHS = {
    "prior": "the signature that the CNN wrote",
    "adapted": "the signature that it wrote after steps on the training scans without their labels",
    "focal": "weights of single voxels",
    "distributed": "weights all over the brain",
    "fine": "weights all over the brain without any filter",
    "contrast_products": "products of two maps at one voxel",
    "voxel_pairs": "products of two voxels",
}
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
#: What weights of a study of two groups give evidence for.
DIFFERENCE = "a difference between groups"
#: What gradient steps do to them.
TRAINED = {"are": "started from", "lie": "started"}
UNTRAINED = {"are": "are", "lie": "lie"}
MAP_NAMES = {"alff": "ALFF", "falff": "fALFF", "reho": "ReHo", "temporal_sd": "temporal SD"}
#: Of a scan's temporal SNR, three percentiles over voxels, the middle one.
MEDIAN = 1


def methods_paragraphs(
    cohort: Cohort, metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """Describe the analysis: the data, the models, and how they were judged.

    `metrics` and `settings` are what ``metrics.json`` and ``config.yaml`` hold; what the latter
    lacks is left out of the text.
    """
    labels, studied, titles = cohort.listing.labels, metrics["studied"], metrics["titles"]
    n, n_positive = metrics["n_scans"], metrics["n_positive"]
    data = [
        f"{n} scans of {metrics['n_subjects']} people ({n_positive} {labels.positive}, "
        f"{n - n_positive} {labels.negative}) were analysed.",
        *input_sentences(cohort, metrics, settings),
    ]
    models = [network_sentence(settings, metrics)]
    if others := [name_of(name, titles) for name in metrics["models"] if name != studied]:
        models.append(f"In the same folds stood: {', '.join(others)}.")
    models += further_sentences(settings, metrics)
    own_splits = {"frem", "space_net"} & set(metrics["models"])
    models.append(
        "Everything that is learned, standardisation, smoothing width, penalties, length of "
        "training and calibration, was learned on training subjects, every choice on inner folds"
        + (" (by FREM and SpaceNet on splits of their own)." if own_splits else ".")
    )
    judged = [
        folds_sentence(settings.get("folds", {})),
        "Areas under the ROC curve (AUC) compare scans within test folds; their 95 % intervals are "
        "made on the logit scale and allow for other test subjects (Aronow et al. 2015) and other "
        "training subjects, those of other figures are percentiles of a bootstrap over subjects.",
    ]
    if "permutation" in metrics:
        judged.append(_permutation_sentences(metrics["permutation"]))
    if is_corrected(metrics):
        among = ", ".join(name_of(name, titles) for name in metrics["exported"]["among"])
        judged.append(
            f"The model to be used was the one with the largest AUC among {among}; that AUC was "
            "corrected for the choice by the bootstrap (BBC-CV; Tsamardinos et al. 2018)"
            + (
                ", and tested against the largest AUC of these models in each permutation."
                if "p" in metrics["exported"]
                else "."
            )
        )
    return [" ".join(sentences) for sentences in (data, models, judged)]


def _permutation_sentences(permutation: Mapping[str, Any]) -> str:
    n, stop_after = permutation["n"], permutation.get("stop_after", 0)
    cells = {True: "; among people of the same test fold and inner folds", False: ""}
    where = cells[permutation.get("within_folds", False)]
    said = (
        f"The null distribution comes from {n} permutations of the labels (within site and family; "
        f"of people with scans of both groups, within the person{where}) through the whole "
        "pipeline, every choice made anew; "
    )
    if not stop_after:
        return f"{said}p = (b + 1) / (m + 1)."
    return (
        f"{said}of {permutation['n_planned']} planned they were to end once {stop_after} had "
        "reached the AUC observed, for every model and for the largest AUC of all. Where the "
        f"{stop_after}th to do so was the l-th, p = {stop_after} / l (Besag and Clifford 1991), "
        "else p = (b + 1) / (m + 1)."
    )


def folds_sentence(folds: Mapping[str, Any], strata: str = "group") -> str:
    """Say how people were split; `strata` is what all folds have alike, besides the site."""
    if "n_splits" in folds:
        n = folds["n_repeats"]
        repeated = "once" if n == 1 else f"repeated {n} times"
        return (
            f"Models were assessed by {folds['n_splits']}-fold cross-validation, {repeated}, split "
            f"by subject and stratified by {strata} and site."
        )
    if "build_site_folds" in str(folds.get("_target_", "")):
        return "Each site was tested by models that learned from all other sites."
    return "Models were assessed in folds by subject that were given beforehand (folds.tsv)."


def input_sentences(
    cohort: Cohort, metrics: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """Say what scans were read, and what was done to them before anything was learned."""
    edge, fwhm_mm = cohort.grid.voxel_size_mm[0], settings.get("preparation", {}).get("fwhm_mm")
    if "bold" in metrics:
        smoothing = f"smoothed by {fwhm_mm:g} mm and " if fwhm_mm else ""
        return [
            *_runs_sentences(metrics["bold"], edge),
            *_reading_sentences(settings, metrics, smoothing),
        ]
    listing = cohort.listing
    smoothing = f", smoothed by {fwhm_mm:g} mm" if fwhm_mm else ""
    stat = "" if listing.stat == "n/a" else f"; statistic {listing.stat}"
    return [
        f"Maps ({', '.join(listing.contrasts)}{stat}) were resampled to a {edge:g} mm MNI152 grid, "
        f"masked{smoothing} and standardised by voxel on the training subjects."
    ]


def network_sentence(settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Say what the network is, and how it got its weights."""
    network = settings.get("network", {})
    builder = _last_part(network).removeprefix("build_")
    kind = str(network.get("backbone", builder)).replace("_", " ") or "3D convolutional"
    kind = str(network["name"]) if builder == "monai" else kind
    has_stem, pretrained = "backbone" in network, metrics.get("pretrained", {})
    kind = "prior CNN" if pretrained or kind == "prior cnn" else kind
    name = f"3D network ({kind}){' behind the stem' if has_stem else ''}"
    few, many = min(metrics["n_epochs"]), max(metrics["n_epochs"])
    fractions = current_paths(metrics.get("path_shares", {}))
    if many:
        chosen = f"{few}" if few == many else f"between {few} and {many}"
        said = (
            f"A {name} was trained{' together with it' if has_stem else ''}{_optimiser(settings)} "
            f"for a number of epochs chosen on inner folds ({chosen})."
        )
        return f"{said} Before that, {_cnn_words(pretrained)}." if pretrained else said
    if kind not in {"scale space", "prior CNN"} and not fractions:
        return f"A {name} was used with the weights that it starts from: no gradient step followed."
    what = "a relation with what is predicted" if "target" in metrics else DIFFERENCE
    closed = (
        f"filters of several widths, weights by the evidence for {what}, and a "
        "share for each of its paths by what it reached on training people left out meanwhile"
    )
    said = f"A {name} got its weights from the training scans in closed form: {closed}."
    if kind == "prior CNN":
        taken = "their labels" if pretrained.get("adapted_steps") else "them"
        cnn = _cnn_words(pretrained) if pretrained else "a pretrained CNN wrote a linear signature"
        said = (
            f"A {name} got its weights from the training scans without a gradient step on {taken}: "
            f"{cnn}. Beside that, in closed form: {closed}."
        )
    else:
        said += " No gradient step followed."
    if not fractions:
        return said
    each = ", ".join(
        f"{PATHS[kind_of_path(path)]} {percent(own)}" for path, own in fractions.items()
    )
    linear = linear_sentence(
        {"path_shares": fractions}, metrics.get("bold", {}).get("reads") == SERIES
    )
    linear = linear.replace("final model's", "final network's")
    return f"{said} In the final network: {each}. {linear}"


def _cnn_words(pretrained: Mapping[str, Any]) -> str:
    """Say what a pretrained CNN is and did, for the middle of a sentence."""
    steps = f"; it {adaptation_words(pretrained)}" if pretrained.get("adapted_steps") else ""
    return (
        f"a CNN ({pretrained['network']} of MONAI, {pretrained['n_parameters']:,} parameters) that "
        f"had been pretrained by gradient on {pretraining_words(pretrained)} (SHA-256 of its "
        f"weights: {pretrained['sha256']}) read t-values of the training scans in several bands, "
        f"on a grid of about {pretrained['voxel_size_mm']:g} mm, and wrote a linear signature"
        f"{steps}"
    )


def further_sentences(settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """Say of each further network what it read and how it got its weights."""
    said = []
    for name, own in metrics.get("further", {}).items():
        asked, n_epochs = settings.get("models", {}).get(name, {}), own.get("n_epochs", [])
        width = asked.get("fwhm_mm")
        read = f"read maps smoothed by {width:g} mm and " if width else ""
        how = "was fitted to the training scans in closed form"
        if metrics["kinds"].get(name) == "pretrained":
            how = (
                "got its weights from the training scans without a gradient step, a part of them "
                "from a pretrained CNN"
            )
        if any(n_epochs):
            few, many = min(n_epochs), max(n_epochs)
            chosen = f"{few}" if few == many else f"between {few} and {many}"
            optimiser = _optimiser({**settings, "optimizer": asked.get("optimizer")})
            how = f"was trained{optimiser} for a number of epochs chosen on inner folds ({chosen})"
        said.append(f"The {name_of(name, metrics['titles'])} {read}{how}.")
    return said


def _optimiser(settings: Mapping[str, Any]) -> str:
    """Name the optimiser with its settings, for the middle of a sentence."""
    optimizer = settings.get("optimizer") or {}
    known = {"lr": "learning rate", "weight_decay": "weight decay", "momentum": "momentum"}
    said = [f"{word} {optimizer[key]:g}" for key, word in known.items() if key in optimizer]
    if "batch_size" in settings:
        said.append(f"batches of {settings['batch_size']}")
    return f" with {_last_part(optimizer)} ({', '.join(said)})" if optimizer and said else ""


def _last_part(component: Mapping[str, Any]) -> str:
    return str(component.get("_target_", "")).rsplit(".", 1)[-1]


def tripod_rows(cohort: Cohort, metrics: Mapping[str, Any]) -> list[TripodItem]:
    """Fill in the TRIPOD+AI checklist as far as a run of two groups can know it.

    Returns
    -------
    list of tuple
        Item, what it asks for, and what the run says or who has to write it.

    References
    ----------
    Collins et al. (2024). TRIPOD+AI statement. BMJ, 385, e078378.
    """
    labels, n_positive = cohort.listing.labels, metrics["n_positive"]
    n_negative = metrics["n_scans"] - n_positive
    asked = f"column “{labels.column}”: {labels.positive} against {labels.negative}"
    given = "score; probability at a base rate of 50 %, calibrated on inner folds"
    counted = f"{n_positive} {labels.positive}, {n_negative} {labels.negative} scans"
    own = [
        ("8", "outcome", asked),
        ("13", "class imbalance", "loss and linear models weighted by class"),
        ("15", "model output", given),
        ("21", "numbers in each analysis", counted),
    ]
    return tripod_of_all(cohort, metrics, own)


def tripod_of_all(
    cohort: Cohort, metrics: Mapping[str, Any], own: Sequence[TripodItem]
) -> list[TripodItem]:
    """Fill in what TRIPOD+AI asks of any study, and what a study says by itself.

    An item of `own` stands in the place of that of the same number, or after the one before it.
    """
    table = cohort.table()
    n_out = table[table["used"] == "no"]["participant_id"].nunique()
    left_out = f"{n_out} people left out, see “Left out”" if n_out else "nobody left out"
    models = ", ".join(name_of(name, metrics.get("titles")) for name in metrics["models"])
    predictors = f"brain maps: {', '.join(cohort.listing.contrasts)}"
    evaluation = "cross-validation in one cohort; no external evaluation"
    if cohort.set_aside:
        n_aside = len(cohort.set_aside)
        evaluation = f"lock-box of {n_aside} scans, apart from all that is shown here"
    power = "; see “What this n can show”" if metrics.get("power") else ""
    rows = [
        ("1-4", "title, abstract, background, objectives", AUTHORS),
        ("5", "source and dates of the data", AUTHORS),
        ("6", "setting, eligibility, treatments", AUTHORS),
        ("7", "data preparation", "“Methods”; config.yaml"),
        ("9", "predictors", input_line(metrics["bold"]) if "bold" in metrics else predictors),
        ("10", "sample size", f"{metrics['n_subjects']} people{power}"),
        ("11", "missing data", f"{left_out}; voxels by their mean"),
        ("12", "analytical methods", "“Methods”; folds.tsv"),
        ("14", "fairness", "confound audit; groups beyond it: " + AUTHORS),
        ("16", "differences between development and evaluation", evaluation),
        ("17", "ethical approval", AUTHORS),
        ("18", "funding, conflicts, protocol, registration", AUTHORS),
        ("18e-f", "sharing of data and code", "manifest.json: versions, hashes, commit"),
        ("19", "patient and public involvement", AUTHORS),
        ("20", "participants", "cohort.tsv; balance table"),
        ("22", "full model", "model/, model_linear/; fmnet export writes the bundle"),
        ("23", "performance", f"table above, each with its interval: {models}"),
        ("24", "updating", "none"),
        ("25-27", "interpretation, limitations, usability", AUTHORS),
    ]
    said = {item for item, _, _ in own}
    rows = [row for row in rows if row[0] not in said]
    return sorted([*rows, *own], key=lambda row: _place(row[0]))


def _place(item: str) -> tuple[int, str]:
    """Order items by their first number, then by what follows it."""
    number = re.match(r"\d*", item)
    first = number[0] if number else ""
    return int(first or 0), item[len(first) :]


def _runs_sentences(bold: Mapping[str, Any], voxel_size_mm: float) -> list[str]:
    """Say what runs there were and what was done to them before anything was learned."""
    both = bold["all"]
    task = f" of task {bold['task']}" if bold["task"] else ""
    several = " Runs of one session make one scan." if both["n_runs"] > both["n_scans"] else ""
    left = "How many volumes were left is not known."
    if both["volumes"] is not None:
        middle, low, high = both["volumes"]
        left = f"Of a scan {middle:g} volumes were left (median; {low:g} to {high:g})"
        if low == high:
            left = f"{middle:g} volumes were left of each scan"
        scrubbed = both["share_scrubbed"]
        if scrubbed and scrubbed[2]:
            left += f"; scrubbing took {scrubbed[0]:.0%} (median), at most {scrubbed[2]:.0%}"
        left += "."
    return [
        f"They are {count(both['n_runs'], 'preprocessed BOLD run')}{task} in {bold['space']} "
        f"space, repetition time {bold['t_r']:g} s.{several} Each run was put on a "
        f"{voxel_size_mm:g} mm MNI152 grid, masked, "
        f"{cleaning_words(CleaningSettings(**bold['cleaning']))}, and turned into percent of each "
        "voxel's mean; volumes that fMRIPrep marks as non-steady were left out.",
        left,
        *([f"Mean framewise displacement was {said}."] if (said := motion_words(bold)) else []),
    ]


def _reading_sentences(
    settings: Mapping[str, Any], metrics: Mapping[str, Any], smoothing: str
) -> list[str]:
    """Say what the network and its baselines read of the cleaned runs.

    `smoothing` is what was done to maps before they were standardised.
    """
    bold, kinds = metrics["bold"], set(metrics["kinds"].values())
    prepared = f"{smoothing}standardised by voxel on the training subjects"
    maps = f"maps of the runs ({map_words(bold['maps'])}), {prepared}"
    if bold["reads"] == SERIES:
        window = bold["window_volumes"]
        how = f"in windows of {window} volumes, over which scores were averaged"
        network, is_trained = settings.get("network", {}), max(metrics["n_epochs"]) > 0
        builder = _last_part(network)
        try:
            stem = STEMS[builder].format(**network, **(TRAINED if is_trained else UNTRAINED))
        except KeyError:
            stem = builder.removeprefix("build_").replace("_", " ") or "see config.yaml"
        said = [
            "The network read the cleaned series themselves, "
            f"{how if window else 'all volumes of a scan at once'}, through a stem that turns them "
            f"into maps: {stem}. These maps were "
            "standardised by voxel on the training subjects."
        ]
        said += [f"The linear models on voxels read {maps}."] if "linear" in kinds else []
    else:
        who = "Network and linear models" if "linear" in kinds else "The network"
        said = [f"{who} read {maps}."]
    if "connectivity" in kinds:
        said.append("Connectivity models read time series of the cleaned runs.")
    if any(name.startswith("contrast:") for name in bold["maps"]):
        said.append(
            "Contrasts come from a general linear model of each run before any filter (nilearn; "
            "canonical response, cosine drift of 128 s, AR(1) noise, the same confounds), combined "
            "over the runs of a scan by fixed effects."
        )
    return said


def map_words(maps: Sequence[str]) -> str:
    """Name maps as a paper does, from what ``cohort.maps`` asked for."""
    names = []
    for asked in maps:
        kind, _, rest = asked.partition(":")
        name, _, value = rest.partition("=")
        if not rest:
            names.append(MAP_NAMES.get(asked, asked))
        elif kind == "seed":
            names.append(f"connectivity with seed {name} at {value.replace(',', ', ')} mm")
        else:
            names.append(f"z of contrast {name} = {value}")
    return ", ".join(names)


def input_line(bold: Mapping[str, Any]) -> str:
    """Say in one line what the network reads of runs, see `describe_runs`."""
    task = f" (task {bold['task']})" if bold["task"] else ""
    if bold["reads"] != SERIES:
        return f"maps of cleaned BOLD runs{task}: {map_words(bold['maps'])}"
    return f"cleaned BOLD series{task}; baselines of maps read {map_words(bold['maps'])}"


def motion_words(bold: Mapping[str, Any]) -> str:
    """Say how much each group moved: ``0.15 mm (SD 0.06) in FM and ...``; empty if not known."""
    said = []
    for group in reversed(bold["groups"]):
        if group["mean_fd_mm"] is not None:
            said.append(f"{mean_sd(group['mean_fd_mm'], 2, ' mm')} in {group['label']}")
    return " and ".join(said)


def volumes_words(volumes: Sequence[float] | None) -> str:
    """Write a median with its range: ``148 (120 to 150)``, or one number where all are alike."""
    if volumes is None:
        return "-"
    middle, low, high = (f"{value:g}" for value in volumes)
    return middle if low == high else f"{middle} ({low} to {high})"


def runs_line(bold: Mapping[str, Any]) -> str:
    """Sum up runs for the terminal."""
    both, moved = bold["all"], motion_words(bold)
    return (
        f"{count(both['n_runs'], 'BOLD run')}, T_R {bold['t_r']:g} s; volumes left of a scan: "
        f"{volumes_words(both['volumes'])}"
        + (f"; mean framewise displacement {moved}" if moved else "")
    )


def mean_sd(pair: Sequence[float | None] | None, digits: int, unit: str = "") -> str:
    """Write a mean with its SD: ``0.15 mm (SD 0.06)``."""
    if pair is None:
        return "-"
    mean, sd = pair
    return f"{mean:.{digits}f}{unit}" + (f" (SD {sd:.{digits}f})" if sd is not None else "")


def describe_runs(cohort: Cohort, is_series: bool, window_volumes: int) -> dict[str, Any]:
    """Say how runs were cleaned, how much was left of them, and how much subjects moved.

    `is_series` where the network reads the cleaned series, `window_volumes` at a time (0 for all);
    else it reads maps that are made of them.

    Returns
    -------
    dict
        ``reads``, ``window_volumes``, ``maps`` as they were asked for, ``cleaning``, ``task``,
        ``space``, ``t_r`` in seconds; ``all`` and, in the order of labels, ``groups``: see
        `_summary`.
    """
    made_by, labels = cohort.listing.made_by or {}, cohort.listing.labels
    pairs = list(zip(cohort.scans, cohort.stored, strict=True))
    named = (labels.negative, labels.positive) if labels.is_given else ()
    groups = [
        {"label": label} | _summary([pair for pair in pairs if pair[0].label == label])
        for label in named
    ]
    groups = groups or [{"label": "all"} | _summary(pairs)]
    return {
        "reads": SERIES if is_series else MAPS,
        "window_volumes": window_volumes,
        "maps": list(made_by.get("maps", ())),
        "cleaning": dict(made_by.get("cleaning", {})),
        "task": cohort.scans[0].scan_id.rpartition("_task-")[2],
        "space": cohort.scans[0].space,
        "t_r": cohort.series[0].t_r,
        "all": _summary(pairs),
        "groups": groups,
    }


def _summary(pairs: Sequence[tuple[Any, StoredScan]]) -> dict[str, Any]:
    """Describe some scans.

    Returns
    -------
    dict
        ``n_scans``, ``n_runs``; median, smallest and largest: ``volumes``, left of a scan, and
        ``share_scrubbed``; mean and SD: ``mean_fd_mm``, over scans of which it is known, and
        ``tsnr``, of a scan's median voxel. None where nothing is known.
    """
    stored = [one for _, one in pairs]
    return {
        "n_scans": len(pairs),
        "n_runs": sum(len(scan.files) for scan, _ in pairs),
        "volumes": _median_and_range([one.facts.get(KEPT) for one in stored]),
        "share_scrubbed": _median_and_range([one.facts.get(SCRUBBED) for one in stored]),
        "mean_fd_mm": _mean_sd([one.facts.get(MOTION) for one in stored]),
        "tsnr": _mean_sd([None if one.tsnr is None else one.tsnr[MEDIAN] for one in stored]),
    }


def _median_and_range(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [float(np.median(known)), min(known), max(known)] if known else None


def _mean_sd(values: Sequence[float | None]) -> list[float | None] | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return None
    return [float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None]
