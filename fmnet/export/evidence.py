"""Gather from the files of a run what it found out about the model that is exported."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fmnet.data.tables import read_table_file
from fmnet.earlier import EARLIER_NETWORK, finding_without_model, names_model, rename_network
from fmnet.errors import BundleError, CohortError, Fault, RunError
from fmnet.evaluation.conclusions import statement
from fmnet.inference.bundle_files import MAX_LENGTH
from fmnet.inference.calibration import calibration_sentence, read_calibration
from fmnet.inference.study_results import (
    MAX_FINDINGS,
    MAX_VERDICT,
    Evidence,
    TargetEvidence,
)
from fmnet.runs.final_models import Choice
from fmnet.runs.run_folder import read_json
from fmnet.types import NETWORK

#: Where a run keeps what it found.
METRICS = "metrics.json"
#: The figure by which models of two groups are judged.
AUC = {"name": "auc", "title": "an AUC"}
#: Largest difference between the two files in which a run states the AUC of a final model.
SAME_AUC = 1e-6


def gather_evidence(run_dir: Path, choice: Choice) -> Evidence | TargetEvidence:
    """Gather what is known of the model that is exported: its own figures, and the warnings.

    The run's files have been compared with their hashes. None stands for what the run, perhaps one
    of an earlier version, didn't record.

    Raises
    ------
    RunError
        If ``metrics.json`` is damaged, or of another run than the model.
    """
    path, record = run_dir / METRICS, choice.record
    metrics = read_json(path) if path.exists() else {}
    if EARLIER_NETWORK in metrics.get("models", {}):
        metrics = rename_network(metrics)
    try:
        own, primary = record["model"], record.get("target", {}).get("primary", AUC)
        figures = metrics.get("models", record["crossvalidation"])[own]
        stated = record["crossvalidation"][own][primary["name"]]
        reached = figures[primary["name"]]
        if reached != stated and not abs(reached - stated) <= SAME_AUC:  # both may be None
            raise RunError(
                Fault(
                    str(path),
                    f"{primary['title']} of {reached:.3f} of the model that training.json states "
                    f"{stated:.3f} of",
                    "the figures of the run that the model is from",
                    "restore both from a copy; or delete metrics.json and the model's folder, and "
                    "repeat the training command with resume=true",
                )
            )
        if "target" in record:
            return _of_target(metrics, record, figures)
        titles = record.get("titles", {}) | metrics.get("titles", {}) | {own: record["title"]}
        corrected = (record.get("chosen") or {}) if choice.n_models > 1 else {}
        red, amber, note = _findings(metrics, own, titles)
        groups = (record["positive"], record["negative"])
        n_positive, n_negative = _count_subjects(run_dir, groups)
        calibration = read_calibration(choice.folder / "calibration.json")
        return Evidence(
            model=record["title"],
            verdict=_cut(metrics["verdict"], MAX_VERDICT) if "verdict" in metrics else None,
            red=red,
            amber=amber,
            note=note,
            auc=figures["auc"],
            auc_ci=list(figures["auc_ci"]),
            n_candidates=choice.n_models,
            auc_corrected=corrected.get("auc_corrected"),
            auc_corrected_ci=corrected.get("auc_corrected_ci"),
            n_subjects=record["n_subjects"],
            n_positive=n_positive,
            n_negative=n_negative,
            n_scans=record["n_scans"],
            calibration={
                "slope": calibration.slope,
                "slope_ci": None if calibration.slope_ci is None else list(calibration.slope_ci),
                "base_rate": calibration.base_rate,
                "sentence": calibration_sentence(calibration),
            },
            **_permutation(metrics, choice, titles),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"something else than figures ({type(error).__name__}: {error})"
        action = "restore it from a copy, or delete it and repeat the training command"
        raise RunError(Fault(str(path), found, "JSON as the run wrote it", action)) from error
    except BundleError as error:
        raise RunError(error.faults) from error


def _of_target(
    metrics: Mapping[str, Any], record: Mapping[str, Any], figures: Mapping[str, Any]
) -> TargetEvidence:
    """Gather what is known of a model with a target, which export takes whatever it reaches."""
    own, primary = record["model"], record["target"]["primary"]
    said = [*metrics.get("verdict", []), *metrics.get("audit", {}).get("said", [])]
    texts = {
        severity: list(dict.fromkeys(one["text"] for one in said if one["severity"] == severity))
        for severity in ("red", "amber")
    }
    sentences = [str(one["text"]) for one in metrics.get("verdict", [])]
    verdict = " ".join(f"{one.rstrip('.')}." for one in sentences)
    tested = metrics.get("permutation", {}).get("models", {}).get(own, {})
    interval = figures.get(f"{primary['name']}_ci")
    return TargetEvidence(
        model=record["title"],
        verdict=_cut(verdict, MAX_VERDICT) if "verdict" in metrics else None,
        red=_bounded(texts["red"]) if metrics else None,
        amber=_bounded(texts["amber"]) if metrics else None,
        figure=primary["title"],
        value=figures[primary["name"]],
        value_ci=None if interval is None else list(interval),
        chance=primary["chance"],
        p=tested.get("p"),
        p_of=f"of the {record['title']}" if tested else "not tested by permutation",
        n_permutations=metrics["permutation"]["n"] if tested else None,
        n_subjects=record["n_subjects"],
        n_scans=record["n_scans"],
    )


def _findings(
    metrics: Mapping[str, Any], own: str, titles: Mapping[str, str]
) -> tuple[list[str] | None, list[str] | None, str | None]:
    """Collect red and amber findings, and say of those of another model whose they are."""
    if "findings" not in metrics:
        return None, None, None
    # runs of before audited the network, whichever model is exported
    audited = metrics.get("audit", {}).get("model", NETWORK)
    found = list(metrics["findings"])
    note = None
    if audited != own:
        of = titles.get(audited, audited)
        of_own = metrics.get("audit_network", {}).get("findings", []) if own == NETWORK else []
        known = set(map(_stated, of_own))
        others = [one for one in found if _stated(one) not in known]
        of_other = [_is_of(one, audited, of, own) for one in others]
        found = [
            one | {"text": f"Of the {of}: {one['text']}"} if is_of_other else one
            for one, is_of_other in zip(others, of_other, strict=True)
        ]
        found = [*of_own, *found]
        is_audited = own == NETWORK and "audit_network" in metrics
        note = (
            f"The verdict's first sentence and the audit are about the {of}. This signature is the "
            f"{titles[own]}, which was {'audited as well' if is_audited else 'not audited'}."
        )
        if any(of_other):
            note += f" Findings that begin with 'Of the {of}' are of that model."
    by_severity = {
        severity: [one["text"] for one in found if one["severity"] == severity]
        for severity in ("red", "amber")
    }
    return _bounded(by_severity["red"]), _bounded(by_severity["amber"]), note


def _stated(finding: Mapping[str, Any]) -> str:
    """Write what a finding states, whichever model it is held against."""
    return statement(finding) if "kind" in finding else finding_without_model(finding["text"])


def _is_of(finding: Mapping[str, Any], model: str, title: str, own: str) -> bool:
    """Tell whether a finding is of a model rather than of subjects or of the `own` one."""
    if "kind" in finding:
        return bool(finding["values"].get("model") == model)
    # earlier runs called it that; what is said of subjects or of this model names neither
    return names_model(finding["text"], {title} if own == NETWORK else {title, NETWORK})


def _permutation(
    metrics: Mapping[str, Any], choice: Choice, titles: Mapping[str, str]
) -> dict[str, Any]:
    """Find the p-value that counts for how the model came to be exported.

    That is the one of the largest AUC among the models that it was chosen among; of runs of before
    that was worked out, its own.
    """
    chosen, tested = choice.record.get("chosen") or {}, metrics.get("permutation") or {}
    own = choice.record["model"]
    if chosen.get("p") is not None:
        *others, last = [f"the {titles.get(name, name)}" for name in chosen["among"]]
        of = f"the AUC of {last}"
        if others:
            of = f"the largest AUC among {', '.join(others)} and {last}"
        return {"p": chosen["p"], "p_of": of, "n_permutations": chosen["n_permutations"]}
    if own not in tested.get("models", {}):
        return {"p": None, "p_of": "not tested by permutation", "n_permutations": None}
    of = f"the AUC of the {titles[own]}"
    if choice.n_models > 1:
        of += f", without regard to its choice among {choice.n_models} models"
    return {"p": tested["models"][own]["p"], "p_of": of, "n_permutations": tested["n"]}


def _count_subjects(run_dir: Path, groups: tuple[str, str]) -> tuple[int | None, ...]:
    """Count the subjects of each group whose scans were used; None where that is not recorded."""
    columns = ("participant_id", "label", "used")
    try:
        table = read_table_file(run_dir / "cohort.tsv", columns, {"label": groups})
    except CohortError:
        return (None,) * len(groups)
    used = table[table["used"] == "yes"]
    return tuple(used.loc[used["label"] == one, "participant_id"].nunique() for one in groups)


def _bounded(texts: Iterable[str]) -> list[str]:
    """Make texts as short and as few as bundles may hold; what is left out is counted."""
    cut = [_cut(text, MAX_LENGTH) for text in texts]
    if (more := len(cut) - MAX_FINDINGS) > 0:
        cut = [*cut[: MAX_FINDINGS - 1], f"And {more + 1} more, in the report of the run."]
    return cut


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
