"""What differs between runs: their settings, and what their networks reached on the same scans."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fmnet.evaluation.comparison import chosen_auc, compare_models
from fmnet.evaluation.metrics import fold_aucs
from fmnet.report.compared_runs import ComparedRun, Reached

#: Settings that say where or how a study is computed, and not what.
PLACES = ("run_dir", "store_dir", "overwrite", "resume", "logger", "compute", "shard")
PLACES_OF_TRAINER = (
    "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "logger", "profiler",
)  # fmt: skip
#: Keys by which a part is told from others, and what stands for a setting that a part doesn't have.
UNSAID, _ABSENT = ("_target_", "_partial_"), object()


def paired_groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Gather runs of two groups whose networks scored the same people in the same folds.

    See `fmnet.report.compared_runs.ComparedRun.is_paired`.

    Returns
    -------
    list of list of ComparedRun
        Groups of two or more, in the order of their first run.
    """
    groups: list[list[ComparedRun]] = []
    for run in runs:
        own = next((group for group in groups if run.is_paired(group[0])), None)
        if own is None:
            groups.append([run])
        else:
            own.append(run)
    return [group for group in groups if len(group) > 1]


def paired_tests(group: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Test the networks of runs on the same scans and folds against that of the first run.

    See `fmnet.evaluation.comparison.compare_models`; p-values are Holm-corrected for the number of
    further runs.

    Returns
    -------
    list of dict
        ``name`` of the run; ``difference`` of its AUC from that of the first, ``ci`` and ``p``,
        None where no test is possible.
    """
    rows = compare_models(fold_aucs(_by_run(group)), "0")
    return [
        {
            "name": group[int(row["other"])].name,
            "difference": -row["difference"],
            "ci": row["ci"] and [-row["ci"][1], -row["ci"][0]],
            "p": row["p_holm_first"],
        }
        for row in rows
        if row["one"] == "0"
    ]


def best_of(group: Sequence[ComparedRun], seed: int = 0) -> tuple[ComparedRun, Reached] | None:
    """Find the run whose network has the largest AUC, and correct that for the choice.

    See `fmnet.evaluation.comparison.chosen_auc`. None where an AUC isn't known.

    Returns
    -------
    run : ComparedRun
        The first of those with the largest.
    corrected : Reached
        Its AUC as that of the best of so many.
    """
    reached = [run.reached(run.studied).value for run in group]
    known = [value for value in reached if value is not None]
    if len(known) < len(group):
        return None
    best = group[known.index(max(known))]
    figures = best.metrics["models"][best.studied]
    if "auc_logit_se" not in figures:  # of an earlier version
        return None
    order = [str(number) for number in range(len(group))]
    found = chosen_auc(_by_run(group), order, figures, seed)
    return best, Reached(found["auc_corrected"], *found["auc_corrected_ci"])


def _by_run(group: Sequence[ComparedRun]) -> pd.DataFrame:
    """Stack the scores of runs as if they were models of one study, named by their place."""
    return pd.concat([run.scores.assign(model=str(n)) for n, run in enumerate(group)])


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """List what configurations differ in, as far as it changes results.

    Of parts of different kinds (another ``_target_``) their names are one entry, and further ones
    are settings of the same name that differ. What is null or empty is ``none``, and what a part
    doesn't have is ``-``.

    Parameters
    ----------
    settings : sequence of dict
        Of each run.

    Returns
    -------
    dict of list of str
        The value in each run, by dotted path.
    """
    found: dict[str, list[str]] = {}
    kept = [{key: one for key, one in own.items() if key not in PLACES} for own in settings]
    for own in kept:
        if isinstance(trainer := own.get("trainer"), Mapping):
            own["trainer"] = {k: v for k, v in trainer.items() if k not in PLACES_OF_TRAINER}
    _add_differences("", kept, found)
    return found


def _add_differences(path: str, values: Sequence[Any], found: dict[str, list[str]]) -> None:
    values = [None if one in ({}, [], "") else one for one in values]
    known = [one for one in values if one is not _ABSENT]
    if all(one == known[0] for one in known):
        return
    if not all(one is None or one is _ABSENT or isinstance(one, Mapping) for one in values):
        found[path] = ["-" if one is _ABSENT else say_setting(one) for one in values]
        return
    branches = [one if isinstance(one, Mapping) else {} for one in values]
    kinds = [one.get("_target_") for one in branches]
    is_group = not any(kinds)  # such as baselines, empty in one of the runs
    if len(set(kinds)) > 1:
        found[path] = [str(kind).rsplit(".", 1)[-1] if kind else "none" for kind in kinds]
    absent = None if is_group else _ABSENT
    for key in dict.fromkeys(key for one in branches for key in one if key not in UNSAID):
        own = [one.get(key, absent) for one in branches]
        _add_differences(f"{path}.{key}" if path else str(key), own, found)


def say_setting(value: Any) -> str:
    """Write a setting as it is typed."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {say_setting(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(say_setting, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
