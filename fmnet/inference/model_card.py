"""``MODEL_CARD.md``: a bundle described for readers."""

from collections.abc import Mapping
from typing import Any

from fmnet.earlier import current_paths
from fmnet.errors import printable
from fmnet.inference.bold_contract import BoldContract, cleaning_words
from fmnet.inference.gates import gates_sentences
from fmnet.inference.preparation import SERIES
from fmnet.inference.study_results import (
    NOT_RECORDED,
    Evidence,
    TargetEvidence,
    correction,
    count_red,
    evidence_of,
    figure,
    say_auc,
    say_p_of,
    signature_facts_of,
    warnings_of,
)

#: Paths of a network that are linear in maps, by the first part of their names; the weights of the
#: first are those that a pretrained CNN writes.
CNN_PATHS = ("prior", "adapted")
LINEAR_PATHS = (*CNN_PATHS, "fine", "focal", "distributed")
#: Most characters of an amber finding; all of it is in metadata.json.
SHORT = 200


def model_card(metadata: dict[str, Any], contract: BoldContract | None = None) -> str:
    """Describe a bundle for readers, from its metadata and, where it reads BOLD, its contract."""
    metadata = _inert(metadata)
    training, wanted, choice = metadata["training"], metadata["input"], metadata["choice"]
    warnings = [f"{text[0].upper()}{text[1:]}." for text in warnings_of(training)]
    marks = [training.get("control", ""), *warnings]
    if training["origin"] == "synthetic":
        marks.append("Trained on synthetic data: for demonstration only.")
    alike = "coverage or scale" if contract is None else "coverage, scale or head motion"
    gates = f"What is unlike the training scans in {alike} gets no score, but `cannot_say`."
    if (described := metadata.get("gates")) is not None:
        gates = gates_sentences(described, contract is not None)
    target = training.get("target")
    heading = f"{training.get('positive')} against {training.get('negative')}"
    return (
        f"# Signature: {heading if target is None else target['title']}\n\n"
        + "".join(f"**{mark}**\n\n" for mark in marks if mark)
        + f"## What is known of it\n\n{_known(evidence_of(metadata), training)}\n\n"
        + ("" if target is None else f"## What its numbers mean\n\n{_meanings(target)}\n\n")
        + f"## Which regions carry it\n\n{_carried(metadata)}\n\n"
        f"## Intended use\n\n{metadata['intended_use']}\n\n"
        f"## Input\n\n{_input(wanted, contract)}\n\n{gates}\n\n"
        f"## Model\n\nThe {training['title']}, exported because {choice['why']}. "
        f"{linear_sentence(training, wanted.get('kind') == SERIES)} "
        f"{pretraining_sentence(training.get('pretrained'))}".rstrip()
        + "\n\n"
        f"## Training\n\n{training['n_scans']} scans of {training['n_subjects']} people.\n\n"
        + _figures(training, correction(training, choice["n_models"]))
        + f"Made with fmnet {metadata['versions']['fmnet']}, format "
        f"{metadata['format_version']}. Check the files with `sha256sum -c SHA256SUMS`.\n"
    )


def _inert(value: Any) -> Any:
    """Make of all text one that neither a terminal nor a viewer of Markdown obeys."""
    if isinstance(value, dict):
        return {_inert(name): _inert(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_inert(one) for one in value]
    if not isinstance(value, str):
        return value
    return printable(value).replace("<", "&lt;").replace("](", "]&#40;")  # no links, no images


def _meanings(target: Mapping[str, Any]) -> str:
    """Tabulate what each output of a target means, and what it doesn't."""
    read = ", ".join(f"{role} from `{column}`" for role, column in target["columns"].items())
    rows = [
        f"| `{_cell(one['name'])}` | {_cell(one['unit'])} | {_cell(one['means'])} | "
        f"{_cell(one['means_not'])} |\n"
        for one in target["outputs"]
    ]
    scores = ", ".join(f"`{_cell(name)}`" for name in target["scores"])
    return (
        f"Learned from the columns of the study: {read}. Raw scores ({scores}) have no unit.\n\n"
        "| number | unit | means | does not mean |\n|---|---|---|---|\n" + "".join(rows).rstrip()
    )


def _cell(text: str) -> str:
    """Keep a text within its cell of a table."""
    return " ".join(text.split()).replace("|", "/").replace("`", "'")


def _known(evidence: Evidence | TargetEvidence | None, training: Mapping[str, Any]) -> str:
    """Say what a score of the signature can't be read without: verdict, warnings, figures."""
    if evidence is None:
        return f"{NOT_RECORDED[0].upper()}{NOT_RECORDED[1:]}."
    parts = [f"**Verdict of the study:** {evidence.verdict or 'not recorded'}"]
    parts += [evidence.note] if isinstance(evidence, Evidence) and evidence.note else []
    red = count_red(evidence)
    why = ", which may explain the result without the brain, or undo it:"
    parts.append(f"**{red[0].upper()}{red[1:]}**{why if evidence.red else '.'}")
    parts += ["\n".join(f"- {text}" for text in evidence.red)] if evidence.red else []
    if evidence.amber:
        short = [text if len(text) <= SHORT else f"{text[:SHORT]}…" for text in evidence.amber]
        parts += ["To be known as well:", "\n".join(f"- {text}" for text in short), "Figures:"]
    if isinstance(evidence, TargetEvidence):
        parts.append(
            f"- Out of fold, with its 95 % interval over people: {evidence.reached}.\n"
            f"- Permutation test: {say_p_of(evidence)}.\n"
            f"- {evidence.n_subjects} people, {evidence.n_scans} scans."
        )
        return "\n\n".join(parts)
    counts = [
        f"{'not recorded' if n is None else n} {training[group]}"
        for group, n in (("positive", evidence.n_positive), ("negative", evidence.n_negative))
    ]
    if evidence.n_positive is None:
        counts = ["how many of each group is not recorded"]
    probability = (evidence.calibration or {}).get("sentence")
    parts.append(
        f"- AUC out of fold with its 95 % interval over people: {say_auc(evidence)}.\n"
        f"- Permutation test: {say_p_of(evidence)}.\n"
        f"- {evidence.n_subjects} people ({', '.join(counts)}), {evidence.n_scans} scans.\n"
        f"- {probability or 'For which groups probabilities are stated is not recorded.'}"
    )
    return "\n\n".join(parts)


def _carried(metadata: Mapping[str, Any]) -> str:
    """Say whether it is known which regions carry the signature."""
    facts = signature_facts_of(metadata)
    if facts is None:
        return "Not recorded: this bundle explains no score by regions."
    said = f"{facts.words[:1].upper()}{facts.words[1:]}."
    if not facts.is_stable:
        return f"**{said}** No map of it is part of this bundle, and no score is explained by one."
    return (
        f"{said} The folder `signature/` has the maps; `fmnet explain` says what raised and "
        "what lowered the score of one scan. Such a map is of a score, and no finding about a "
        "person."
    )


def linear_sentence(training: Mapping[str, Any], is_series: bool) -> str:
    """Say how much of a final model's score is a linear map; empty for a network without paths.

    `training` has ``path_shares``, by name of the path, and ``n_epochs``; of a network that
    `is_series` the stem makes maps of time series.
    """
    fractions = current_paths(training.get("path_shares") or {})
    if not fractions:
        return ""
    fraction = sum(own for name, own in fractions.items() if kind_of_path(name) in LINEAR_PATHS)
    written = [own for name, own in fractions.items() if kind_of_path(name) in CNN_PATHS]
    of = "a linear function of the stem's maps" if is_series else "a linear map"
    before = ", before the fine-tuning" if training.get("n_epochs") else ""
    said = f"{percent(fraction)} of the final model's score is {of}{before}"
    said += f"; a pretrained CNN wrote {percent(sum(written))} of the score" if written else ""
    return f"{said[0].upper()}{said[1:]}."


def kind_of_path(name: str) -> str:
    """Leave out of a path's name the number that tells it from others: ``adapted_100``."""
    kind, _, number = name.rpartition("_")
    return kind if number.isdecimal() else name


def pretraining_sentence(pretrained: Mapping[str, Any] | None) -> str:
    """Say what a CNN that wrote a part of a network was trained on, and which weights it has.

    `pretrained` is as `fmnet.networks.prior_path.facts_of` gives it; the sentence is empty for a
    network without such a part, or of which that is not known.
    """
    if not pretrained:
        return ""
    return (
        f"The CNN is {pretrained['network']} of MONAI with {pretrained['n_parameters']:,} "
        f"parameters, pretrained by gradient on {pretraining_words(pretrained)} (SHA-256 of its "
        f"weights: {pretrained['sha256']}); it read group statistics of the training participants, "
        f"and {adaptation_words(pretrained)}."
    )


def adaptation_words(pretrained: Mapping[str, Any]) -> str:
    """Say which gradient steps a CNN took in a study, for the middle of a sentence."""
    if not (steps := pretrained.get("adapted_steps")):
        return "took no gradient step on their scans"
    counted = " or ".join(map(str, steps))
    return (
        f"took {counted} gradient steps on their scans without the labels: on differences planted "
        "into them under labels drawn at random"
    )


def pretraining_words(pretrained: Mapping[str, Any]) -> str:
    """Say what a CNN was pretrained on: ``100,000 simulated cohorts``."""
    record = pretrained["record"]
    n_episodes = record.get("figures", {}).get("episodes")
    counted = f"{n_episodes:,.0f} " if n_episodes else ""
    if is_of_people(pretrained):
        return (
            f"{counted}cohorts, of simulated maps and of people's, with group differences planted "
            "into them"
        )
    return f"{counted}simulated cohorts"


def percent(fraction: float) -> str:
    """Write a fraction; one that is nearly nothing or all is not rounded to it."""
    if 0 < fraction <= 0.005:
        return "less than 1 %"
    is_most = 0.995 <= fraction < 1 - 1e-6
    return "more than 99 %" if is_most else f"{fraction:.0%}".replace("%", " %")


def is_of_people(pretrained: Mapping[str, Any]) -> bool:
    """Tell whether a CNN was pretrained on maps of people, into which differences were planted."""
    return bool(pretrained["record"].get("people_sha256"))


def _input(wanted: dict[str, Any], contract: BoldContract | None) -> str:
    """Say what goes in and what happens to it."""
    voxel = " x ".join(f"{edge:g}" for edge in wanted["voxel_size_mm"])
    names = ", ".join(wanted["contrasts"])
    if contract is None:
        said = f"One map per contrast ({names}), statistic {wanted['stat']}, in {wanted['space']}"
        return f"{said} space; any grid, put on {voxel} mm voxels and {_smoothing(wanted)}."
    words = _inert(contract.words(wanted["space"], wanted.get("task", "")))
    whole = "all volumes at once"
    if wanted.get("window_volumes"):
        whole = f"in windows of {wanted['window_volumes']} volumes, whose scores are averaged"
    reading = f"The model reads the cleaned series, the runs joined in time, {whole}."
    if contract.maps:
        reading = f"The model reads maps that are made of all runs ({names}), {_smoothing(wanted)}."
    return (
        f"{words[0].upper()}{words[1:]}; any grid. Several runs of a session make one scan.\n\n"
        f"Each run is put on {voxel} mm voxels and {cleaning_words(contract.cleaning)}. {reading}"
    )


def _smoothing(wanted: dict[str, Any]) -> str:
    """Say how maps are smoothed, for the end of a sentence that begins with where they lie."""
    inside = wanted.get("smooths_itself", False)
    if wanted["fwhm_mm"]:
        again = ", and again inside the network" if inside else ""
        return f"smoothed by {wanted['fwhm_mm']:g} mm{again}"
    return "smoothed inside the network" if inside else "not smoothed"


def _figures(training: dict[str, Any], remark: str) -> str:
    """Say what this model reached, and tabulate it beside the others."""
    if "target" in training:
        return _target_figures(training)
    models, own = training["crossvalidation"], training["model"]
    titles = training.get("titles", {})
    reached = {name: figure(one["auc"], one["auc_ci"]) for name, one in models.items()}
    said = f"Out of fold the {training['title']} reaches AUC {reached[own]}. {remark}".rstrip()
    rows = [
        f"| {titles.get(name, name)}{' (this model)' if name == own else ''} | {reached[name]} | "
        f"{figures['balanced_accuracy']:.2f} |\n"
        for name, figures in models.items()
    ]
    return (
        f"{said}\n\nAll models in the same folds (AUC with its 95 % interval over subjects):\n\n"
        "| model | AUC | balanced accuracy |\n|---|---|---|\n" + "".join(rows) + "\n"
    )


def _target_figures(training: Mapping[str, Any]) -> str:
    """Tabulate the figure that the study was about for all models."""
    models, own, titles = training["crossvalidation"], training["model"], training.get("titles", {})
    primary = training["target"]["primary"]
    name, rows = primary["name"], []
    for one, figures in models.items():
        value, interval = figures.get(name), figures.get(f"{name}_ci")
        said = "not known" if value is None else f"{value:.2f}"
        said = figure(value, interval) if value is not None and interval else said
        rows.append(f"| {titles.get(one, one)}{' (this model)' if one == own else ''} | {said} |\n")
    return (
        f"All models in the same folds ({primary['title']} with its 95 % interval over people; "
        f"{primary['chance']:g} knows nothing):\n\n"
        f"| model | {_cell(primary['title'])} |\n|---|---|\n" + "".join(rows) + "\n"
    )
